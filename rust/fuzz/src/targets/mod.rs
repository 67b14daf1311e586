//! The targets: each a genuine conversation that is spoiled, and the laws that it keeps to nevertheless.
pub mod fields;
pub mod ke;
pub mod packet;
pub mod score;
pub mod sealed;
pub mod session;

use crate::random::Random;
use crate::End;

/// Something that reads strangers' bytes.
pub trait Target {
    /// Appends an input to `input`, which is empty: genuine, spoiled or invented.
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>);

    /// Reads an input. Errors with the law that it broke.
    fn check(&mut self, input: &[u8]) -> Result<End, String>;
}

/// The targets' names, in the order of the layers.
pub const NAMES: [&str; 6] = ["packet", "fields", "ke", "session", "sealed", "score"];

/// The target of that name.
pub fn by_name(name: &str) -> Option<Box<dyn Target>> {
    Some(match name {
        "packet" => Box::new(packet::PacketTarget::default()),
        "fields" => Box::new(fields::FieldsTarget::default()),
        "ke" => Box::new(ke::KeTarget::default()),
        "session" => Box::new(session::SessionTarget::default()),
        "sealed" => Box::new(sealed::SealedTarget::default()),
        "score" => Box::new(score::ScoreTarget::default()),
        _ => return None,
    })
}

const fn refused(name: &'static str) -> End {
    End { name, forged: false }
}
