//! What a channel remembers from one run to the next: the filters of its noise.
use super::spin::Spin;
use crate::oscillators::Noise;
use crate::program::Wave;

/// The memory of a channel. Most waves have none: they follow from node time alone.
#[derive(Clone, Debug)]
pub(super) enum Source {
    None,
    Noise(Noise),
    Spin(Box<Spin>),
}

impl Source {
    /// What a channel of `wave` needs that is the `index`-th of its program; noises of different places have nothing
    /// in common. Allocates, so it belongs before the night.
    pub(super) fn new(wave: &Wave, index: usize) -> Self {
        let seed = index as u64 + 1;
        match wave {
            Wave::Noise(color) => Self::Noise(Noise::new(*color, seed)),
            Wave::Spin(color) => Self::Spin(Box::new(Spin::new(*color, seed))),
            _ => Self::None,
        }
    }
}
