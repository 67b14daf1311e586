//! A sleeper's voice: one complex coefficient a channel, refused unless it is harmless.
//!
//! The magnitude of a coefficient is how strongly the sleeper sounds on that channel, its argument the phase of their
//! carrier there. A voice comes from a stranger's device, so it is checked once, where it enters; behind that door
//! every [`Voice`] is finite and bounded.
use num_complex::Complex;
use thiserror::Error;

use crate::program::CHANNELS_MAX;

/// The largest magnitude that a coefficient may have: 12 dB above the score's own level.
pub const MAGNITUDE_MAX: f32 = 4.0;

/// One coefficient a channel, each finite and at most [`MAGNITUDE_MAX`] in magnitude.
#[derive(Clone, PartialEq, Debug)]
pub struct Voice {
    coefficients: Vec<Complex<f32>>,
}

/// Why a voice was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum VoiceError {
    /// A coefficient is NaN or infinite.
    #[error(
        "a voice's coefficients must be finite; channel {channel} has {value}; send 0 for a channel without a voice"
    )]
    NotFinite {
        /// Which channel, counted from 0.
        channel: usize,
        /// What was given.
        value: Complex<f32>,
    },
    /// A coefficient is too large.
    #[error(
        "a voice's coefficients may have a magnitude of at most {MAGNITUDE_MAX}; channel {channel} has {magnitude}; \
         scale the voice down"
    )]
    TooLoud {
        /// Which channel, counted from 0.
        channel: usize,
        /// Its magnitude.
        magnitude: f32,
    },
    /// More coefficients than any score has channels.
    #[error("a voice has one coefficient a channel, at most {CHANNELS_MAX}, not {0}")]
    TooMany(usize),
}

impl Voice {
    /// The voice of `coefficients`, one a channel. Errors name the first channel that is not allowed.
    pub fn new(coefficients: impl Into<Vec<Complex<f32>>>) -> Result<Self, VoiceError> {
        let coefficients = coefficients.into();
        if coefficients.len() > CHANNELS_MAX {
            return Err(VoiceError::TooMany(coefficients.len()));
        }
        for (channel, &value) in coefficients.iter().enumerate() {
            if !value.is_finite() {
                return Err(VoiceError::NotFinite { channel, value });
            }
            let magnitude = value.norm();
            if magnitude > MAGNITUDE_MAX {
                return Err(VoiceError::TooLoud { channel, magnitude });
            }
        }
        Ok(Self { coefficients })
    }

    /// A voice that follows the score as written: 1 on each of `channels` channels.
    ///
    /// # Panics
    /// If `channels` is more than [`CHANNELS_MAX`].
    pub fn ones(channels: usize) -> Self {
        assert!(channels <= CHANNELS_MAX, "a score has at most {CHANNELS_MAX} channels");
        Self { coefficients: vec![Complex::new(1.0, 0.0); channels] }
    }

    /// The coefficients, one a channel. Realtime-safe.
    pub fn coefficients(&self) -> &[Complex<f32>] {
        &self.coefficients
    }

    /// How many channels this voice is for. Realtime-safe.
    pub fn channels(&self) -> usize {
        self.coefficients.len()
    }
}

#[cfg(test)]
mod laws {
    use super::*;

    #[test]
    fn what_is_not_a_number_is_refused_by_channel() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for value in [Complex::new(bad, 0.0), Complex::new(0.0, bad)] {
                let refused = Voice::new(vec![Complex::new(1.0, 0.0), value]).unwrap_err();
                assert!(matches!(refused, VoiceError::NotFinite { channel: 1, .. }));
                assert!(refused.to_string().contains("finite; channel 1"), "{refused}");
            }
        }
    }

    #[test]
    fn the_limit_is_on_the_magnitude() {
        assert!(Voice::new(vec![Complex::new(0.0, -4.0)]).is_ok());
        let refused = Voice::new(vec![Complex::new(3.0, 3.0)]).unwrap_err();
        assert!(refused.to_string().contains("at most 4"), "{refused}");
        assert!(Voice::new(vec![Complex::new(f32::MAX, f32::MAX)]).is_err());
    }

    #[test]
    fn no_voice_has_more_channels_than_a_score() {
        assert!(Voice::new(vec![Complex::new(0.0, 0.0); CHANNELS_MAX]).is_ok());
        assert_eq!(Voice::new(vec![Complex::new(0.0, 0.0); 65]), Err(VoiceError::TooMany(65)));
    }
}
