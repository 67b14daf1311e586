//! The rule of several purposes, and of levels, scopes and ends, as tables: a test in Python holds the domain to them.

use serde_json::{json, Value};

use crate::person::state::{Consent, Entry, No, State, Yes, FULL_LEVEL, LISTENERS, PURPOSES, VOICE};
use crate::person::world::SLICE;
use crate::standing::Standing;

/// How many withdrawals the table of transitions has; as many grants as purposes, one of each.
const NOS: u8 = 2;

/// Both tables: `allowed` and `transitions`.
pub fn tables() -> Value {
    json!({"allowed": allowed(), "transitions": transitions()})
}

/// How far one grant goes: `[level, scope, end, now, asked scope, levels]`, where the last has one digit for each of the
/// ceilings of rules, score and safety, of which the last changes first.
fn allowed() -> Vec<Value> {
    let levels = 0..=FULL_LEVEL;
    let mut rows = Vec::new();
    for (level, scope) in levels.clone().flat_map(|level| (0..=1).map(move |scope| (level, scope))) {
        for (until, now) in (0..=1).flat_map(|until| (0..=2).map(move |now| (until, now))) {
            let mut state = State::first(&SLICE[0]);
            state.yeses[0] = Yes { sent: true, level, scope, until, ..Yes::default() };
            state.memory.consent[VOICE].grant = 1;
            state.now = now;
            for asked in 0..=LISTENERS {
                let mut row = String::new();
                for rules in levels.clone() {
                    for score in levels.clone() {
                        for safety in levels.clone() {
                            state.ceilings = [rules, score, safety];
                            row += &state.allows(None, VOICE, asked).to_string();
                        }
                    }
                }
                rows.push(json!([level, scope, until, now, asked, row]));
            }
        }
    }
    rows
}

/// Where two purposes go from every state that can be reached: a list of `[state, event, state]`. A state is, for each
/// purpose, `[heard withdrawals, a bit each, the newest, the grant]`; an event `["w", no, purposes]` or
/// `["g", yes, names]`. The grant 1 is of the first purpose, 2 of the second.
fn transitions() -> Vec<Value> {
    let mut open = vec![Consent::default()];
    let mut seen = open.clone();
    let mut rows = Vec::new();
    while let Some(consent) = open.pop() {
        let mut next = |event: Value, state: &State, entry: Entry| {
            let mut after = consent;
            state.absorb(&mut after, entry, true);
            rows.push(json!([shown(&consent), event, shown(&after)]));
            if !seen.contains(&after) {
                seen.push(after);
                open.push(after);
            }
        };
        let mut state = State::first(&SLICE[0]);
        for no in 1..=NOS {
            for purposes in 1..1 << PURPOSES {
                state.nos[no as usize - 1] = No { sent: true, purposes, ..No::default() };
                next(json!(["w", no, purposes]), &state, Entry::No(no));
            }
        }
        for yes in 1..=PURPOSES as u8 {
            for names in 0..=NOS {
                state.yeses[yes as usize - 1] = Yes { sent: true, purpose: yes - 1, names, ..Yes::default() };
                next(json!(["g", yes, names]), &state, Entry::Yes(yes));
            }
        }
    }
    rows.sort_by_key(Value::to_string);
    rows
}

fn shown(consent: &Consent) -> Value {
    let standing = |one: &Standing| json!([one.heard, one.newest, one.grant]);
    consent.iter().map(standing).collect()
}
