//! What a platform asks its sanctuary for authentic time with: given with its session, over gRPC.
//!
//! A stranger exchanges keys over a TLS connection of its own (RFC 8915, section 4). A platform has such a connection
//! already, and the answer that opens its session brings what a key exchange would: an algorithm, a key each way, and
//! cookies. From there on it is a client of NTS like any other.
//!
//! It differs in one thing. Strangers never send a cookie twice, so that nobody on the path can tell that two requests
//! are one client's. A platform's sealed datagrams name its session in plain beside them; so after a loss that used up
//! every cookie it begins with its first ones again, and needs no gRPC to get its time back.
use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::{Keys, NtsClient, NtsError};

use crate::entropy::Entropy;
use crate::error::IoError;

/// Keys and cookies for one session. The bytes are secret.
#[derive(Clone)]
pub struct TimeKeys {
    /// IANA's number of the AEAD algorithm.
    pub algorithm: u16,
    /// The key of the platform's requests.
    pub c2s: Vec<u8>,
    /// The key of the sanctuary's answers.
    pub s2c: Vec<u8>,
    /// Cookies that hold both, for the sanctuary itself.
    pub cookies: Vec<Vec<u8>>,
}

impl std::fmt::Debug for TimeKeys {
    /// Keys do not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeKeys").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TimeKeys {
    /// What platforms are given: of the two algorithms the faster, as both ends are ours.
    pub const ALGORITHM: Algorithm = Algorithm::Aes128GcmSiv;

    /// Keys for one session, and cookies that `bake` seals them into.
    pub fn new([c2s, s2c]: &[[u8; 32]; 2], bake: impl FnOnce(&Keys) -> Vec<Vec<u8>>) -> Self {
        let cookies = bake(&Keys::new(Self::ALGORITHM, c2s, s2c));
        let len = Self::ALGORITHM.key_len();
        Self { algorithm: Self::ALGORITHM.id(), c2s: c2s[..len].to_vec(), s2c: s2c[..len].to_vec(), cookies }
    }
}

/// One session's protection: wraps requests, unwraps answers.
pub(crate) struct TimeSeal {
    client: NtsClient,
    first_cookies: Vec<Vec<u8>>,
}

impl TimeSeal {
    /// Errors on an algorithm that is not known here, on keys of another length than its own, and without a cookie.
    pub(crate) fn new(given: &TimeKeys) -> Result<Self, IoError> {
        let algorithm = Algorithm::from_id(given.algorithm).ok_or(IoError::State(
            "the sanctuary's time keys are for an algorithm that is not known here; update this program",
        ))?;
        let padded = |key: &[u8]| -> Result<[u8; 32], IoError> {
            let mut padded = [0; 32];
            let fits = key.len() == algorithm.key_len();
            fits.then(|| padded[..key.len()].copy_from_slice(key))
                .ok_or(IoError::State("the sanctuary's time keys have the wrong length; ask it for new ones"))?;
            Ok(padded)
        };
        let keys = Keys::new(algorithm, &padded(&given.c2s)?, &padded(&given.s2c)?);
        let client = NtsClient::new(&keys, given.cookies.iter().cloned());
        if client.cookies() == 0 {
            return Err(IoError::State("the sanctuary's time keys came without a usable cookie; ask it for new ones"));
        }
        Ok(Self { client, first_cookies: given.cookies.clone() })
    }

    /// Wraps a session's `request` into `out` (of [`harmonia_core::nts::PACKET_MAX`] bytes); returns the length.
    pub(crate) fn seal(&mut self, request: &[u8], entropy: &mut Entropy, out: &mut [u8]) -> Result<usize, NtsError> {
        if self.client.cookies() == 0 {
            self.client.refill(self.first_cookies.iter().cloned());
        }
        self.client.seal_request(request, &mut |bytes| entropy.fill(bytes), out)
    }

    /// Unwraps an answer into `out` (of [`harmonia_core::packet::CIRCLE_PACKET_LEN`] bytes); returns the length. Errors
    /// on whatever the sanctuary did not make for one of this session's requests.
    pub(crate) fn open(&mut self, answer: &[u8], out: &mut [u8]) -> Result<usize, NtsError> {
        self.client.open_answer(answer, out)
    }
}
