//! What sealed datagrams say: mix frames, acknowledgements, statuses and withdrawals.
//!
//! A mix frame is small and complete: it holds everything that a listener needs from the others at one instant, so a
//! lost one costs nothing and nothing ever has to be sent twice. It carries coefficients, never samples; a platform
//! renders them against its own disciplined clock. All integers are big-endian.
//!
//! ```text
//! 0       1          2            10      18      26          42                 42 + 8·channels
//! | flags | channels | gate epoch | taken | phase | frequency | re, im a channel |      a mix frame
//! ```
//!
//! Of its flags, bit 0 marks a cut; bits 1 and 2 are the room's [`Hush`], or 0 where nothing is said of that. The others are
//! 0, and a platform refuses frames with flags that it does not know; so only those that asked for it, when their session
//! was opened, are told of a hush.
use num_complex::Complex;
use thiserror::Error;

use crate::hush::Hush;
use crate::phase::{Phase, PhaseOffset};
use crate::program::CHANNELS_MAX;
use crate::stated::Stated;
use crate::units::{NodeTime, PlatformTime, Span};

/// The longest payload of any kind.
pub const PAYLOAD_MAX: usize = MIX_HEAD_LEN + CHANNELS_MAX * 8;
/// The length of a status payload.
pub const STATUS_LEN: usize = 92;
/// The length of a withdrawal payload.
pub const WITHDRAW_LEN: usize = 20;
/// The length of an acknowledgement payload.
pub const ACKNOWLEDGE_LEN: usize = 16;
const MIX_HEAD_LEN: usize = 42;
const FLAG_CUT: u8 = 1;
const HUSH_SHIFT: u32 = 1;
const HUSH_MASK: u8 = 3 << HUSH_SHIFT;

/// A payload that is too short, too long or says something impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a malformed payload")]
pub struct Malformed;

/// What the others contribute to one listener's mix at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct MixFrame {
    /// Raised by every mute; what belongs to a lower one is never heard after a higher one was.
    pub gate_epoch: u64,
    /// A voice has just been withdrawn: ramp to these coefficients in milliseconds and never interpolate across.
    pub cut: bool,
    /// Whether the room is silent; `None` where the frame does not say. Another one has another gate epoch.
    pub hush: Option<Hush>,
    /// When the coefficients were taken.
    pub taken: NodeTime,
    /// θ of this listener at that instant, their offset not counted: their own rhythm, and what others did to it.
    pub phase: Phase,
    /// Its frequency at that instant, in 2⁻¹²⁸ turn/ns.
    pub frequency: i128,
    /// One coefficient a channel, at most [`CHANNELS_MAX`].
    pub others: Vec<Complex<f32>>,
}

/// How a platform stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Status {
    /// The highest gate epoch that it has followed: the acknowledgement of cuts.
    pub gate_epoch: u64,
    /// As `harmonia.v1.LockState`.
    pub lock_state: u8,
    /// Whether its own gate is open.
    pub gate_open: bool,
    /// Half of the certified interval around its idea of node time.
    pub bound: Span,
    /// Its expected error.
    pub uncertainty: Span,
    /// Its clock's estimated frequency error, parts per billion.
    pub rate_ppb: i64,
    /// φ in use.
    pub offset: PhaseOffset,
    /// θ + φ at `node`.
    pub phase: Phase,
    /// Momentary level of the mix, dBFS.
    pub level_dbfs: f32,
    /// When this was taken, on its own clock.
    pub platform: PlatformTime,
    /// The same instant as it believes it to be on the node's clock.
    pub node: NodeTime,
    /// How often its machine was suspended since it began; stays at the largest number.
    pub suspends: u16,
    /// Coefficients and samples that were no numbers and were made silence, since it began; stays at the largest number.
    pub dropped: u32,
    /// What `bound` rests on.
    pub stated: Stated,
}

/// A person takes something back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Withdraw {
    /// Names the withdrawal; a repetition has the same.
    pub event_id: [u8; 16],
    /// Bit n for purpose n of `harmonia.v1.Purpose`; 0 for all.
    pub purposes: u32,
}

/// The bit of the purpose `hearing` in [`Withdraw::purposes`].
pub const PURPOSE_HEARING: u32 = 1 << 2;
/// The bit of the purpose `pull` in [`Withdraw::purposes`].
pub const PURPOSE_PULL: u32 = 1 << 4;
/// The bit of the purpose `voice` in [`Withdraw::purposes`].
pub const PURPOSE_VOICE: u32 = 1 << 3;

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take::<1>()?[0])
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }
    fn i64(&mut self) -> Result<i64, Malformed> {
        self.take().map(i64::from_be_bytes)
    }
    fn f32(&mut self) -> Result<f32, Malformed> {
        self.take().map(f32::from_be_bytes)
    }
    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> &mut Self {
        self.out[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
        self
    }
}

impl MixFrame {
    /// Writes the frame into `out` and returns its length. Realtime-safe.
    ///
    /// # Panics
    /// With more than [`CHANNELS_MAX`] channels, or if `out` is shorter than [`PAYLOAD_MAX`].
    pub fn encode(&self, out: &mut [u8]) -> usize {
        assert!(self.others.len() <= CHANNELS_MAX, "a frame holds at most {CHANNELS_MAX} channels");
        let mut w = Writer { out, len: 0 };
        let cut = u8::from(self.cut) * FLAG_CUT;
        let hush = self.hush.map_or(0, |hush| hush as u8) << HUSH_SHIFT;
        w.put([cut | hush, self.others.len() as u8])
            .put(self.gate_epoch.to_be_bytes())
            .put(self.taken.ns().to_be_bytes())
            .put(self.phase.bits().to_be_bytes())
            .put(self.frequency.to_be_bytes());
        for v in &self.others {
            w.put(v.re.to_be_bytes()).put(v.im.to_be_bytes());
        }
        w.len
    }

    /// Reads a frame. Coefficients that are not finite make it malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(payload);
        let (flags, channels) = (r.u8()?, usize::from(r.u8()?));
        if channels > CHANNELS_MAX || flags & !(FLAG_CUT | HUSH_MASK) != 0 {
            return Err(Malformed);
        }
        let known = [Hush::Lifted, Hush::Silent, Hush::Alarm];
        let hush = known.into_iter().find(|hush| *hush as u8 == (flags & HUSH_MASK) >> HUSH_SHIFT);
        let (gate_epoch, taken, phase) = (r.u64()?, NodeTime::from_ns(r.i64()?), Phase::from_bits(r.u64()?));
        let frequency = i128::from_be_bytes(r.take()?);
        let mut others = Vec::with_capacity(channels);
        for _ in 0..channels {
            let v = Complex::new(r.f32()?, r.f32()?);
            if !v.is_finite() {
                return Err(Malformed);
            }
            others.push(v);
        }
        r.end()?;
        Ok(Self { gate_epoch, cut: flags & FLAG_CUT != 0, hush, taken, phase, frequency, others })
    }
}

impl Status {
    /// The payload. Realtime-safe.
    pub fn encode(&self) -> [u8; STATUS_LEN] {
        let mut out = [0; STATUS_LEN];
        Writer { out: &mut out, len: 0 }
            .put(self.gate_epoch.to_be_bytes())
            .put([self.lock_state, u8::from(self.gate_open)])
            .put(self.bound.ns().to_be_bytes())
            .put(self.uncertainty.ns().to_be_bytes())
            .put(self.rate_ppb.to_be_bytes())
            .put(self.offset.bits().to_be_bytes())
            .put(self.phase.bits().to_be_bytes())
            .put(self.level_dbfs.to_be_bytes())
            .put(self.platform.ns().to_be_bytes())
            .put(self.node.ns().to_be_bytes())
            .put(self.suspends.to_be_bytes())
            .put(self.dropped.to_be_bytes())
            .put(self.stated.max_drift_ppb.to_be_bytes())
            .put(self.stated.max_wander.to_be_bytes());
        out
    }

    /// Reads a status; a level that is no number becomes silence. Limits that nobody can mean make it malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(payload);
        let status = Self {
            gate_epoch: r.u64()?,
            lock_state: r.u8()?,
            gate_open: r.u8()? != 0,
            bound: Span::from_ns(r.i64()?),
            uncertainty: Span::from_ns(r.i64()?),
            rate_ppb: r.i64()?,
            offset: PhaseOffset::from_bits(r.i64()?),
            phase: Phase::from_bits(r.u64()?),
            level_dbfs: Some(r.f32()?).filter(|level| level.is_finite()).unwrap_or(-120.0),
            platform: PlatformTime::from_ns(r.i64()?),
            node: NodeTime::from_ns(r.i64()?),
            suspends: r.take().map(u16::from_be_bytes)?,
            dropped: r.take().map(u32::from_be_bytes)?,
            stated: Stated::new(r.i64()?, f64::from_be_bytes(r.take()?)).map_err(|_| Malformed)?,
        };
        r.end()?;
        Ok(status)
    }
}

impl Withdraw {
    /// The payload. Realtime-safe.
    pub fn encode(&self) -> [u8; WITHDRAW_LEN] {
        let mut out = [0; WITHDRAW_LEN];
        Writer { out: &mut out, len: 0 }.put(self.event_id).put(self.purposes.to_be_bytes());
        out
    }

    /// Reads a withdrawal.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(payload);
        let withdraw = Self { event_id: r.take()?, purposes: u32::from_be_bytes(r.take()?) };
        r.end()?;
        Ok(withdraw)
    }

    /// Whether it takes back the voice.
    pub const fn mutes(&self) -> bool {
        self.purposes == 0 || self.purposes & PURPOSE_VOICE != 0
    }

    /// Whether it takes back that the circle may pull.
    pub const fn unbinds(&self) -> bool {
        self.purposes == 0 || self.purposes & PURPOSE_PULL != 0
    }

    /// Whether it takes back everything, so that the person's own platform falls silent too.
    pub const fn is_whole(&self) -> bool {
        self.purposes == 0
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn hush() -> impl Strategy<Value = Option<Hush>> {
        prop_oneof![Just(None), Just(Some(Hush::Lifted)), Just(Some(Hush::Silent)), Just(Some(Hush::Alarm))]
    }

    prop_compose! {
        fn frame()(gate_epoch: u64, cut: bool, hush in hush(), taken: i64, phase: u64, frequency: i128,
                   others in prop::collection::vec((-1e9f32..1e9, -1e9f32..1e9), 0..=CHANNELS_MAX)) -> MixFrame {
            MixFrame { gate_epoch, cut, hush, taken: NodeTime::from_ns(taken), phase: Phase::from_bits(phase), frequency,
                       others: others.into_iter().map(|(re, im)| Complex::new(re, im)).collect() }
        }
    }

    proptest! {
        #[test]
        fn a_frame_survives_its_encoding(frame in frame()) {
            let mut out = [0; PAYLOAD_MAX];
            let len = frame.encode(&mut out);
            prop_assert_eq!(MixFrame::decode(&out[..len]), Ok(frame));
        }

        #[test]
        fn a_frame_that_says_nothing_of_the_room_has_the_bytes_that_it_had_before_any_did(frame in frame(), told in hush()) {
            let (mut out, mut former) = ([0; PAYLOAD_MAX], [0; PAYLOAD_MAX]);
            MixFrame { hush: told, ..frame.clone() }.encode(&mut out);
            let len = MixFrame { hush: None, ..frame.clone() }.encode(&mut former);
            prop_assert_eq!(former[0], u8::from(frame.cut));
            prop_assert_eq!(&out[1..len], &former[1..len]);
            prop_assert_eq!(out[0] == former[0], told.is_none());
        }

        #[test]
        fn flags_that_mean_nothing_are_malformed(frame in frame(), flag in 3u8..8) {
            let mut out = [0; PAYLOAD_MAX];
            let len = frame.encode(&mut out);
            out[0] |= 1 << flag;
            prop_assert_eq!(MixFrame::decode(&out[..len]), Err(Malformed));
        }

        #[test]
        fn a_frame_cut_short_or_drawn_out_is_malformed(frame in frame(), at: prop::sample::Index) {
            let mut out = [0; PAYLOAD_MAX + 1];
            let len = frame.encode(&mut out);
            prop_assert_eq!(MixFrame::decode(&out[..at.index(len)]), Err(Malformed));
            prop_assert_eq!(MixFrame::decode(&out[..len + 1]), Err(Malformed));
        }

        #[test]
        fn a_status_survives_its_encoding(gate_epoch: u64, lock_state: u8, gate_open: bool, a: i64, b: i64, c: i64,
                                          offset: i64, phase: u64, level_dbfs in -120.0f32..0.0, t: i64, u: i64,
                                          suspends: u16, dropped: u32, max_drift_ppb in 0i64..1_000_000, max_wander in 0.0..1e-3) {
            let status = Status {
                gate_epoch, lock_state, gate_open, bound: Span::from_ns(a), uncertainty: Span::from_ns(b), rate_ppb: c,
                offset: PhaseOffset::from_bits(offset), phase: Phase::from_bits(phase), level_dbfs,
                platform: PlatformTime::from_ns(t), node: NodeTime::from_ns(u), suspends, dropped,
                stated: Stated { max_drift_ppb, max_wander },
            };
            prop_assert_eq!(Status::decode(&status.encode()), Ok(status));
            let absurd = Status { stated: Stated { max_drift_ppb: -1, max_wander }, ..status };
            prop_assert_eq!(Status::decode(&absurd.encode()), Err(Malformed));
        }

        #[test]
        fn a_withdrawal_survives_its_encoding(event_id: [u8; 16], purposes: u32) {
            let withdraw = Withdraw { event_id, purposes };
            prop_assert_eq!(Withdraw::decode(&withdraw.encode()), Ok(withdraw));
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..PAYLOAD_MAX + 9)) {
            let _ = (MixFrame::decode(&noise), Status::decode(&noise), Withdraw::decode(&noise));
        }
    }

    #[test]
    fn coefficients_that_are_no_numbers_are_malformed() {
        let mut out = [0; PAYLOAD_MAX];
        let frame = MixFrame {
            gate_epoch: 1,
            cut: false,
            hush: None,
            taken: NodeTime::from_ns(0),
            phase: Phase::ZERO,
            frequency: 0,
            others: vec![Complex::new(f32::NAN, 0.0)],
        };
        let len = frame.encode(&mut out);
        assert_eq!(MixFrame::decode(&out[..len]), Err(Malformed));
    }

    #[test]
    fn the_largest_frame_fits_a_datagram() {
        const { assert!(PAYLOAD_MAX + crate::seal::OVERHEAD <= crate::seal::DATAGRAM_MAX) }
    }
}
