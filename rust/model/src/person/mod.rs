//! One person's consents in one sanctuary, as they are built: levels, scopes, ends, purposes, and what survives.
//!
//! The model beside this one ([`crate::state`]) has one purpose, yes or no, and many houses. What it leaves out is
//! where a yes has a shape: how far, to whom, until when, to what. Here are the engine's own steps, each as small as
//! another thread can tell apart: a door mutes the gate, puts the no in force, writes it, and has it settled by the
//! engine later; a grant writes every no that is on its way, looks whether it still names the newest, is appended where
//! it saw the journal end, is taken in, lowers the gate, is shown. A host, a score and safety narrow what may be used;
//! listeners ask to be let in; time passes, with the conductor looking at ends some time later; a machine comes up with
//! its clock or with another, which is behind or ahead.
//!
//! One world with all of it would be too large to walk. [`world`] has several, each of which is exhaustive in one
//! notion and small in the others; what is not combined is not shown.

pub mod laws;
pub mod state;
pub mod step;
pub mod table;
pub mod world;
