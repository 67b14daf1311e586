//! `.sbgf` curves: a session whose beat, carrier and loudness are formulas of the author's own.
//!
//! ```text
//! param l = 0.15
//! solve A,C : A+C=b0 ; A*exp(-l*D)+C=b1
//! beat = A*exp(-l*m) + C
//! carrier<20 = c0 + (c1-c0)*ramp(m,0,20)
//! carrier>=20 = c1
//! ```
//!
//! A curve says how a drop is shaped, not how deep it goes; that is said where it is called: `-p curve FILE 00ls`.
//! Played on its own it gets what its own examples give it, level 00 and depth `l`, sliding: from 10 to 0.3 Hz within
//! half an hour, the carrier from 205 to 200 Hz.
//!
//! `solve` finds numbers that fulfil as many equations as there are unknowns: Newton's method from the values that the
//! unknowns had, which takes one step where the equations are linear.
//!
//! Source: the manual of SBaGenX, "The .sbgf function file format".
use super::super::expression::{is_function, Expression};
use super::super::number;
use super::session::{lay, Laid, Plan, Point, NAMES};
use super::{Reason, Tones};
use crate::program::Shape;

/// What a curve gets that is played on its own.
const SPEC: &str = "00ls";
/// The targets that sound without a soundtrack.
const BEAT: usize = 0;
const CARRIER: usize = 1;
const AMP: usize = 2;
/// Everything that a line may draw. From the fourth on they move a soundtrack, of which there is none.
const TARGETS: [&str; 12] = [
    "beat",
    "carrier",
    "amp",
    "mixamp",
    "mixspin_width",
    "mixspin_hz",
    "mixspin_amp",
    "mixpulse_hz",
    "mixpulse_amp",
    "mixbeat_hz",
    "mixbeat_amp",
    "mixam_hz",
];
const UNKNOWNS_MAX: usize = 8;
const NAMES_MAX: usize = 40;
const PIECES_MAX: usize = 64;
/// Newton's steps.
const STEPS_MAX: usize = 50;

type At<T> = Result<T, (usize, Reason)>;

/// When a piece counts: `m` below, at, or above something.
struct Condition {
    sign: &'static str,
    bound: Expression,
}

struct Piece {
    condition: Option<Condition>,
    value: Expression,
}

/// One line's words before the names are known.
enum Line<'a> {
    Target { target: usize, condition: Option<(&'static str, &'a str)>, value: &'a str },
    Solve { unknowns: Vec<&'a str>, equations: Vec<(&'a str, &'a str)> },
}

/// Whether a line of a file, without its comment, is one of a curve.
pub(super) fn is_line(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let rest = line[word.len()..].trim_start();
    match word {
        "param" | "solve" => rest.starts_with(|c: char| c.is_ascii_alphabetic()),
        _ => TARGETS.contains(&word) && rest.starts_with(['=', '<', '>']),
    }
}

/// Reads a curve as a session.
pub(super) fn read(text: &str) -> At<Laid> {
    let mut names: Vec<String> = NAMES.map(String::from).to_vec();
    let mut values: Vec<f64> = vec![0.0; names.len()];
    let mut lines: Vec<(usize, Line<'_>)> = Vec::new();
    let mut last_line = 1;
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line)) {
        last_line = number;
        let line = content(line);
        if line.is_empty() {
            continue;
        }
        let at = |reason: Reason| (number, reason);
        if let Some(rest) = keyword(line, "param") {
            let (name, value) = param(rest).map_err(at)?;
            name_it(&mut names, &mut values, name, value).map_err(at)?;
        } else if let Some(rest) = keyword(line, "solve") {
            if lines.iter().any(|(_, line)| matches!(line, Line::Solve { .. })) {
                return Err(at("a curve may have one solve line; put all equations into it".into()));
            }
            lines.push((number, solve_line(rest).map_err(at)?));
        } else {
            lines.push((number, target_line(line).map_err(at)?));
        }
    }
    for (number, line) in &lines {
        let Line::Solve { unknowns, .. } = line else { continue };
        for (i, name) in unknowns.iter().enumerate() {
            if unknowns[..i].contains(name) {
                return Err((*number, format!("{name:?} is solved for twice; name each unknown once")));
            }
            if !names.iter().any(|known| known == name) {
                name_it(&mut names, &mut values, name, 0.0).map_err(|reason| (*number, reason))?;
            } else if NAMES.contains(name) {
                return Err((*number, format!("{name:?} is given and cannot be solved for; choose another name")));
            }
        }
    }

    let plan = Plan::read(&mut [SPEC].as_slice(), Shape::Sine, None).map_err(|reason| (1, reason))?;
    values[..NAMES.len()].copy_from_slice(&plan.values(0.0, 0.0));
    let mut targets: [Vec<Piece>; TARGETS.len()] = Default::default();
    let mut target_lines = [0; TARGETS.len()];
    for (number, line) in &lines {
        let at = |reason: Reason| (*number, reason);
        match line {
            Line::Solve { unknowns, equations } => solve(unknowns, equations, &names, &mut values).map_err(at)?,
            Line::Target { target, condition, value } => {
                let name = TARGETS[*target];
                let pieces = &mut targets[*target];
                let whole = condition.is_none() || pieces.iter().any(|piece| piece.condition.is_none());
                if whole && !pieces.is_empty() {
                    return Err(at(format!("{name} is drawn twice; write one line, or pieces such as {name}<10 = …")));
                }
                if pieces.len() == PIECES_MAX {
                    return Err(at(format!("{name} may have {PIECES_MAX} pieces")));
                }
                let condition = match condition {
                    None => None,
                    Some((sign, bound)) => {
                        Some(Condition { sign, bound: Expression::read(bound, &names).map_err(at)? })
                    }
                };
                pieces.push(Piece { condition, value: Expression::read(value, &names).map_err(at)? });
                target_lines[*target] = *number;
            }
        }
    }
    if targets[BEAT].is_empty() {
        return Err((last_line, "a curve needs a line for its beat, such as beat = lerp(b0, b1, ramp(m,0,D))".into()));
    }

    // Which line is to blame for a moment that cannot be played.
    let blame = core::cell::Cell::new(target_lines[BEAT]);
    let point = |m: f64| -> Result<Point, Reason> {
        let mut values = values.clone();
        values[..NAMES.len()].copy_from_slice(&plan.values(m, 0.0));
        let drawn = |target: usize, unset: f64| match piece(&targets[target], m, &values) {
            None => Ok(unset),
            Some(value) => {
                blame.set(target_lines[target]);
                let value = value.value(&values);
                let name = TARGETS[target];
                value.is_finite().then_some(value).ok_or_else(|| format!("{name} is no number at m = {m:.2}"))
            }
        };
        let (level, carrier_hz) = (drawn(AMP, plan.level() * 100.0)? / 100.0, drawn(CARRIER, plan.carrier_hz(m))?);
        Ok(Point { carrier_hz, level, beat_hz: drawn(BEAT, 0.0)?, mix: 1.0 })
    };
    let silence = Tones { tones: Vec::new(), bound: None };
    lay(&plan, &silence, target_lines[BEAT], &point).map_err(|reason| {
        let line =
            if reason.contains("carrier") && target_lines[CARRIER] > 0 { target_lines[CARRIER] } else { blame.get() };
        (line, reason)
    })
}

/// A line without its comment. In a solve line a semicolon parts equations.
fn content(line: &str) -> &str {
    let line = line.split('#').next().unwrap_or_default();
    let line = line.split("//").next().unwrap_or_default().trim();
    if keyword(line, "solve").is_some() {
        line
    } else {
        line.split(';').next().unwrap_or_default().trim()
    }
}

/// What follows `word` at the beginning of a line.
fn keyword<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word).filter(|rest| rest.starts_with(char::is_whitespace)).map(str::trim)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn name_it(names: &mut Vec<String>, values: &mut Vec<f64>, name: &str, value: f64) -> Result<(), Reason> {
    if !is_name(name) {
        return Err(format!("{name:?} is not a name; use letters, digits and _"));
    }
    if is_function(name) && name != "e" {
        return Err(format!("{name:?} is a function; choose another name"));
    }
    if names.iter().any(|known| known == name) {
        return Err(format!("{name:?} is taken; choose another name"));
    }
    if names.len() >= NAMES.len() + NAMES_MAX {
        return Err(format!("a curve may have {NAMES_MAX} names of its own"));
    }
    names.push(name.into());
    values.push(value);
    Ok(())
}

/// `l = 0.15`, `p = 8m`, `p = 480s`: in minutes, if it has a unit.
fn param(text: &str) -> Result<(&str, f64), Reason> {
    let bad = || format!("a parameter is written like 'param l = 0.125' or 'param p = 8m', not {text:?}");
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    match number(value.trim()) {
        Some((value, "" | "m")) => Ok((name.trim(), value)),
        Some((value, "s")) => Ok((name.trim(), value / 60.0)),
        _ => Err(bad()),
    }
}

fn solve_line(text: &str) -> Result<Line<'_>, Reason> {
    let (unknowns, equations) = text
        .split_once(':')
        .ok_or("solve needs a colon between unknowns and equations: solve A,C : A+C=b0 ; A-C=b1")?;
    let unknowns: Vec<&str> = unknowns.split(',').map(str::trim).collect();
    let equations = equations
        .split(';')
        .map(|equation| {
            let sides = equation.split_once('=').map(|(left, right)| (left.trim(), right.trim()));
            sides.ok_or_else(|| format!("{:?} is no equation; it needs an =", equation.trim()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if unknowns.len() != equations.len() || unknowns.len() > UNKNOWNS_MAX {
        return Err(format!(
            "solve has {} unknowns and {} equations; it needs as many of one as of the other, {UNKNOWNS_MAX} at most",
            unknowns.len(),
            equations.len(),
        ));
    }
    Ok(Line::Solve { unknowns, equations })
}

fn target_line(line: &str) -> Result<Line<'_>, Reason> {
    let bad = || format!("{line:?} is no line of a curve; it may begin with param, solve, {}", TARGETS.join(", "));
    let name = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let target = TARGETS.iter().position(|target| *target == name).ok_or_else(bad)?;
    let rest = line[name.len()..].trim_start();
    for sign in ["<=", ">=", "<", ">"] {
        if let Some(rest) = rest.strip_prefix(sign) {
            let (bound, value) = rest.split_once('=').ok_or_else(bad)?;
            return Ok(Line::Target { target, condition: Some((sign, bound)), value });
        }
    }
    let value = rest.strip_prefix('=').ok_or_else(bad)?;
    Ok(Line::Target { target, condition: None, value })
}

/// The piece that counts at `m`: the first whose condition holds, else the last.
fn piece<'a>(pieces: &'a [Piece], m: f64, values: &[f64]) -> Option<&'a Expression> {
    let holds = |piece: &&Piece| {
        piece.condition.as_ref().is_none_or(|Condition { sign, bound }| {
            let bound = bound.value(values);
            match *sign {
                "<" => m < bound,
                "<=" => m <= bound,
                ">" => m > bound,
                _ => m >= bound,
            }
        })
    };
    pieces.iter().find(holds).or(pieces.last()).map(|piece| &piece.value)
}

/// Finds the unknowns and writes them into `values`.
fn solve(unknowns: &[&str], equations: &[(&str, &str)], names: &[String], values: &mut [f64]) -> Result<(), Reason> {
    let n = unknowns.len();
    let places: Vec<usize> =
        unknowns.iter().filter_map(|unknown| names.iter().position(|name| name == unknown)).collect();
    let sides = equations
        .iter()
        .map(|(left, right)| Ok((Expression::read(left, names)?, Expression::read(right, names)?)))
        .collect::<Result<Vec<_>, Reason>>()?;
    let errors = |values: &[f64]| -> Vec<f64> {
        sides.iter().map(|(left, right)| left.value(values) - right.value(values)).collect()
    };
    for _ in 0..STEPS_MAX {
        let now = errors(values);
        if now.iter().all(|error| error.abs() < 1e-10) {
            return Ok(());
        }
        let mut rows: Vec<Vec<f64>> = vec![vec![0.0; n + 1]; n];
        for (column, place) in places.iter().enumerate() {
            let kept = values[*place];
            let nudge = 1e-6 * kept.abs().max(1.0);
            let mut side = |to: f64| {
                values[*place] = to;
                errors(values)
            };
            let (above, below) = (side(kept + nudge), side(kept - nudge));
            values[*place] = kept;
            for row in 0..n {
                rows[row][column] = (above[row] - below[row]) / (2.0 * nudge);
            }
        }
        (0..n).for_each(|row| rows[row][n] = now[row]);
        let step = eliminate(rows).ok_or("these equations have no single solution; check them")?;
        places.iter().zip(&step).for_each(|(place, step)| values[*place] -= step);
    }
    let left = errors(values).iter().fold(0.0, |worst: f64, error| worst.max(error.abs()));
    (left < 1e-6)
        .then_some(())
        .ok_or_else(|| "these equations were not solved; give the unknowns better first values".into())
}

/// Gauss's elimination with the largest pivot; the last column is the right side. `None` if it is singular.
fn eliminate(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let head = rows[column].clone();
        if !(head[column].abs() > 1e-14 && head[column].is_finite()) {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column] / head[column];
            row.iter_mut().zip(&head).for_each(|(x, h)| *x -= factor * h);
        }
    }
    let solution: Vec<f64> = (0..n).map(|i| rows[i][n] / rows[i][i]).collect();
    solution.iter().all(|x| x.is_finite()).then_some(solution)
}
