//! Every order of events in a small world of consent: devices, houses, disks, crashes, rulings, changes of rhythm.
//!
//! A no is lost in an interleaving that nobody thought of: a grant that was decided before a withdrawal and written
//! after it, a crash between the page cache and the disk, a second house that heard the two the other way round. Tests
//! and simulated nights try many; this tries all, within bounds that [`world`] states. `stateright` walks the states,
//! [`step`] says what may happen next, [`laws`] what must hold in each state. [`bugs`] are mistakes, each of which has to
//! be found, or the laws would say nothing.
//!
//! There are two models. This one has many people, two houses, one purpose, and yes or no. The other, [`person`], has
//! one person in one house, in the engine's own steps: levels, scopes, ends, several purposes, and what survives.
//!
//! What this one leaves out: time other than in ticks, and the sound itself. A message may be repeated, overtaken, or never arrive: what was sent stays in the
//! world, and each of its arrivals is a step that may be taken, at any time, any number of times. A disk that fails is
//! a write that never happens. A crash keeps any part of what was written and not synced, which is more than a journal
//! in order could.
//!
//! [`standing`] holds the rule of one purpose in one house. `transitions.json` is made from it, and a test replays that
//! through the Python domain, so that the model and the code cannot drift apart unnoticed. The exchange between houses
//! is checked here before there is code for it.

pub mod bugs;
pub mod laws;
pub mod person;
pub mod standing;
pub mod state;
pub mod step;
pub mod walk;
pub mod world;
