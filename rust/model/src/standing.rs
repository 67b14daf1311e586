//! The rule of consent, of one purpose in one house: what `domain/consent.py` does, with numbers for event ids.
//!
//! Withdrawals and grants are numbered from 1; 0 stands for none.

use serde_json::{json, Value};

/// Where the purpose stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The withdrawals that are known, a bit each.
    pub heard: u8,
    /// The one that came last: the name that a grant has to give.
    pub newest: u8,
    /// The grant in force.
    pub grant: u8,
}

/// The bit of the withdrawal `no`.
pub fn bit(no: u8) -> u8 {
    1 << (no - 1)
}

impl Standing {
    /// After a withdrawal: it always applies; a repetition changes nothing.
    pub fn withdrawn(self, no: u8) -> Self {
        if self.heard & bit(no) != 0 {
            return self;
        }
        Standing { heard: self.heard | bit(no), newest: no, grant: 0 }
    }

    /// After a grant that names the withdrawal `names`; None: it is stale. A repetition changes nothing.
    pub fn granted(self, yes: u8, names: u8) -> Option<Self> {
        if self.grant == yes {
            Some(self)
        } else if self.newest == names {
            Some(Standing { grant: yes, ..self })
        } else {
            None
        }
    }
}

/// The whole transition function over `nos` withdrawals and `yeses` grants, from every state that can be reached.
///
/// A list of `[state, event, state]`; a state is `[order of withdrawals, grant]`, an event `["w", no]` or
/// `["g", yes, names]`.
pub fn transitions(nos: u8, yeses: u8) -> Value {
    // (the standing, and its withdrawals in order: only the last of them matters to the rule, all to who compares)
    let mut open = vec![(Standing::default(), Vec::<u8>::new())];
    let mut seen = open.clone();
    let mut rows = Vec::new();
    while let Some((standing, order)) = open.pop() {
        let mut next = |event: Value, after: Standing, order_after: Vec<u8>| {
            rows.push(json!([[order, standing.grant], event, [order_after, after.grant]]));
            let state = (after, order_after);
            if !seen.contains(&state) {
                seen.push(state.clone());
                open.push(state);
            }
        };
        for no in 1..=nos {
            let after = standing.withdrawn(no);
            let news = (after.heard != standing.heard).then_some(no);
            next(json!(["w", no]), after, order.iter().copied().chain(news).collect());
        }
        for yes in 1..=yeses {
            for names in 0..=nos {
                next(json!(["g", yes, names]), standing.granted(yes, names).unwrap_or(standing), order.clone());
            }
        }
    }
    rows.sort_by_key(Value::to_string);
    Value::Array(rows)
}
