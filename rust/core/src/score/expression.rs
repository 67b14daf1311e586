//! Arithmetic, as authors of curves write it: `b0 + (b1-b0) * (0.5 + 0.5*tanh(l*(m-D/2-h)))`.
//!
//! An expression is read once into a tree whose variables are numbers of places, and then evaluated for as many moments
//! of the night as a curve needs. The functions come from a library that computes the same bits on every machine: what
//! is a frequency afterwards becomes a phase, and phases have to agree everywhere.
//!
//! Powers bind to the right and before a sign (−2^2 is −4); `log` is to the base of ten and `ln` is natural, as in the
//! curves of SBaGenX. There are no strings, no assignments and no loops, and a tree has at most [`DEPTH_MAX`] levels:
//! whatever somebody writes, evaluating it takes a time that the length of its text bounds.
use core::fmt::Write as _;

/// How deeply an expression may be nested.
const DEPTH_MAX: usize = 64;
/// The longest expression, in bytes.
const TEXT_MAX: usize = 2_000;

/// A tree of numbers, places and operations.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Number(f64),
    Place(usize),
    Negative(Box<Expression>),
    Binary(char, Box<[Expression; 2]>),
    Call(Function, Vec<Expression>),
}

/// A name, the number of its arguments, and what it does with them.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    arguments: usize,
    apply: fn(&[f64]) -> f64,
}

impl core::fmt::Debug for Function {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

const fn function(name: &'static str, arguments: usize, apply: fn(&[f64]) -> f64) -> Function {
    Function { name, arguments, apply }
}

fn truth(holds: bool) -> f64 {
    if holds {
        1.0
    } else {
        0.0
    }
}

/// Where x lies between two bounds: 0 at the first and before it, 1 at the second and after it.
fn ramp(x: f64, from: f64, to: f64) -> f64 {
    if from == to {
        truth(x >= to)
    } else {
        ((x - from) / (to - from)).clamp(0.0, 1.0)
    }
}

const FUNCTIONS: [Function; 42] = [
    function("abs", 1, |a| a[0].abs()),
    function("acos", 1, |a| libm::acos(a[0])),
    function("asin", 1, |a| libm::asin(a[0])),
    function("atan", 1, |a| libm::atan(a[0])),
    function("atan2", 2, |a| libm::atan2(a[0], a[1])),
    function("ceil", 1, |a| a[0].ceil()),
    function("cos", 1, |a| libm::cos(a[0])),
    function("cosh", 1, |a| libm::cosh(a[0])),
    function("e", 0, |_| core::f64::consts::E),
    function("exp", 1, |a| libm::exp(a[0])),
    function("floor", 1, |a| a[0].floor()),
    function("ln", 1, |a| libm::log(a[0])),
    function("log", 1, |a| libm::log10(a[0])),
    function("log10", 1, |a| libm::log10(a[0])),
    function("pi", 0, |_| core::f64::consts::PI),
    function("pow", 2, |a| libm::pow(a[0], a[1])),
    function("sin", 1, |a| libm::sin(a[0])),
    function("sinh", 1, |a| libm::sinh(a[0])),
    function("sqrt", 1, |a| a[0].sqrt()),
    function("tan", 1, |a| libm::tan(a[0])),
    function("tanh", 1, |a| libm::tanh(a[0])),
    function("ifelse", 3, |a| if a[0] != 0.0 { a[1] } else { a[2] }),
    function("step", 1, |a| truth(a[0] >= 0.0)),
    function("clamp", 3, |a| a[0].max(a[1].min(a[2])).min(a[1].max(a[2]))),
    function("lerp", 3, |a| a[0] + (a[1] - a[0]) * a[2]),
    function("ramp", 3, |a| ramp(a[0], a[1], a[2])),
    function("smoothstep", 3, |a| {
        let u = ramp(a[2], a[0], a[1]);
        u * u * (3.0 - 2.0 * u)
    }),
    function("smootherstep", 3, |a| {
        let u = ramp(a[2], a[0], a[1]);
        u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    }),
    function("between", 3, |a| truth(a[0] >= a[1].min(a[2]) && a[0] <= a[1].max(a[2]))),
    function("pulse", 3, |a| truth(a[0] >= a[1].min(a[2]) && a[0] <= a[1].max(a[2]))),
    function("seg", 5, |a| a[3] + (a[4] - a[3]) * ramp(a[0], a[1], a[2])),
    function("lt", 2, |a| truth(a[0] < a[1])),
    function("le", 2, |a| truth(a[0] <= a[1])),
    function("gt", 2, |a| truth(a[0] > a[1])),
    function("ge", 2, |a| truth(a[0] >= a[1])),
    function("eq", 2, |a| truth(a[0] == a[1])),
    function("ne", 2, |a| truth(a[0] != a[1])),
    function("min2", 2, |a| a[0].min(a[1])),
    function("max2", 2, |a| a[0].max(a[1])),
    function("min", 2, |a| a[0].min(a[1])),
    function("max", 2, |a| a[0].max(a[1])),
    function("round", 1, |a| libm::round(a[0])),
];

/// Whether `name` means a function or a constant.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

impl Expression {
    /// Reads `text`; a name that is no function is one of `places`. The error is the reason, without a place.
    pub(super) fn read(text: &str, places: &[impl AsRef<str>]) -> Result<Self, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("an expression may have {TEXT_MAX} characters, not {}", text.len()));
        }
        let names: Vec<&str> = places.iter().map(AsRef::as_ref).collect();
        let mut reader = Reader { whole: text.trim(), rest: text.trim_start(), places: &names };
        let expression = reader.sum(0)?;
        if reader.rest.is_empty() {
            Ok(expression)
        } else {
            Err(reader.unexpected())
        }
    }

    /// The value where place i holds `values[i]`. It may be anything that a float can be.
    pub(super) fn value(&self, values: &[f64]) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Place(i) => values[*i],
            Self::Negative(of) => -of.value(values),
            Self::Binary(operator, sides) => {
                let (a, b) = (sides[0].value(values), sides[1].value(values));
                match operator {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    '/' => a / b,
                    '%' => libm::fmod(a, b),
                    _ => libm::pow(a, b),
                }
            }
            Self::Call(function, arguments) => {
                let mut given = [0.0; 5];
                arguments.iter().zip(&mut given).for_each(|(argument, given)| *given = argument.value(values));
                (function.apply)(&given)
            }
        }
    }
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    places: &'a [&'a str],
}

impl<'a> Reader<'a> {
    /// Takes one of `signs` if it comes next.
    fn next_of(&mut self, signs: &str) -> Option<char> {
        let sign = self.rest.chars().next().filter(|c| signs.contains(*c))?;
        self.rest = self.rest[sign.len_utf8()..].trim_start();
        Some(sign)
    }

    fn unexpected(&self) -> String {
        match self.rest.chars().next() {
            Some(c) => format!("{c:?} was not expected in {:?}", self.whole),
            None => format!("{:?} ends too early", self.whole),
        }
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, String> {
        let mut left = self.product(depth)?;
        while let Some(sign) = self.next_of("+-") {
            left = Expression::Binary(sign, Box::new([left, self.product(depth)?]));
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Result<Expression, String> {
        let mut left = self.signed(depth)?;
        while let Some(sign) = self.next_of("*/%") {
            left = Expression::Binary(sign, Box::new([left, self.signed(depth)?]));
        }
        Ok(left)
    }

    fn signed(&mut self, depth: usize) -> Result<Expression, String> {
        if depth >= DEPTH_MAX {
            return Err(format!("{:?} is nested more than {DEPTH_MAX} deep", self.whole));
        }
        match self.next_of("+-") {
            Some('-') => Ok(Expression::Negative(Box::new(self.signed(depth + 1)?))),
            Some(_) => self.signed(depth + 1),
            None => {
                let base = self.atom(depth)?;
                match self.next_of("^") {
                    Some(_) => Ok(Expression::Binary('^', Box::new([base, self.signed(depth + 1)?]))),
                    None => Ok(base),
                }
            }
        }
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, String> {
        if self.next_of("(").is_some() {
            let inner = self.sum(depth + 1)?;
            return self.next_of(")").map(|_| inner).ok_or_else(|| self.unexpected());
        }
        if let Some((number, rest)) = super::number(self.rest).filter(|_| !self.rest.starts_with(['+', '-'])) {
            self.rest = rest.trim_start();
            return Ok(Expression::Number(number));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        self.rest = self.rest[end..].trim_start();
        // An author's own name counts for more than a function's.
        if let Some(i) = self.places.iter().position(|place| *place == name) {
            return Ok(Expression::Place(i));
        }
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            let mut known = self.places.join(", ");
            let _ = write!(known, ", and functions such as exp, tanh, ramp, lerp");
            return Err(format!("{name:?} is not known in {:?}; known are {known}", self.whole));
        };
        let mut arguments = Vec::new();
        let opened = self.next_of("(").is_some();
        if opened && self.next_of(")").is_none() {
            loop {
                arguments.push(self.sum(depth + 1)?);
                match self.next_of(",)") {
                    Some(',') => {}
                    Some(_) => break,
                    None => return Err(self.unexpected()),
                }
            }
        }
        if arguments.len() != function.arguments {
            let (wants, given) = (function.arguments, arguments.len());
            return Err(format!("{name} takes {wants} arguments, not {given}, in {:?}", self.whole));
        }
        Ok(Expression::Call(*function, arguments))
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> f64 {
        Expression::read(text, &["m", "D"]).unwrap_or_else(|reason| panic!("{reason}")).value(&[3.0, 30.0])
    }

    #[test]
    fn arithmetic_is_what_people_expect() {
        for (text, expected) in [
            ("1+2*3", 7.0),
            ("(1+2)*3", 9.0),
            ("2-3-4", -5.0),
            ("24/4/2", 3.0),
            ("2^3^2", 512.0),
            ("-2^2", -4.0),
            ("2^-1", 0.5),
            ("7 % 4", 3.0),
            ("--m", 3.0),
            (" m / D ", 0.1),
            ("1e1+.5", 10.5),
            ("pi()-pi", 0.0),
            ("ln(e)", 1.0),
            ("log(1000)", 3.0),
            ("ramp(2,5,15)+ramp(10,5,15)+ramp(20,5,15)", 1.5),
            ("lerp(10,20,1.5)", 25.0),
            ("clamp(12,0,10)+clamp(-3,10,0)", 10.0),
            ("seg(m,0,D,10,0)", 9.0),
            ("ifelse(lt(m,10), 1, 2) + ifelse(gt(m,10), 1, 2)", 3.0),
            ("smoothstep(0,4,2) + smootherstep(0,4,2)", 1.0),
            ("between(m,5,1) + pulse(m,5,7) + step(0) + step(-1)", 2.0),
            ("min2(3,7)+max2(3,7)", 10.0),
        ] {
            assert!((value(text) - expected).abs() < 1e-9, "{text} is {}, not {expected}", value(text));
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        let signs = "-".repeat(500) + "1";
        let cases =
            ["", "1+", "(1", "1)", "1 2", "nobody", "exp()", "exp(1,2)", "2m", "m(3)", "=1", "1e999", &deep, &signs];
        for text in cases {
            assert!(Expression::read(text, &["m"]).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_whatever_makes_it_panic(text in "[-+*/^%(),a-eilmnopt0-9. ]{0,80}") {
            if let Ok(expression) = Expression::read(&text, &["m", "D"]) {
                expression.value(&[1.0, f64::NAN]);
            }
        }
    }
}
