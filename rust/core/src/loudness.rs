//! How loud a sound is to people, in LUFS: measured on samples, and foretold from coefficients.
//!
//! A level in decibels of full scale says little about a sleeper's ears: 30 Hz and 3 kHz of the same amplitude are 20 dB
//! apart in loudness. ITU-R BS.1770 weighs frequencies by two filters (a high shelf of +4 dB for the head, a high-pass
//! at 38 Hz), adds the mean squares of both ears, and calls
//!
//! ```text
//! L = −0.691 + 10·log₁₀(Σ_ears mean square)   LUFS
//! ```
//!
//! the loudness; EBU Tech 3341 calls it *momentary* when the mean is over the last 400 ms. [`Meter`] does that.
//!
//! But whoever measures is late, by up to those 400 ms, and pays for four filters a sample. A mix of sines need not be
//! measured: a channel of coefficient m at frequency f has the weighted power |m|²·K²(f) (half of it on each ear), known
//! before its first sample. [`Weights`] is K² as a table that costs a few nanoseconds a channel and run. What pulses
//! counts as loud as its crest, so that a pulse is no rise. Powers add where frequencies differ by more than the inverse of
//! 400 ms; tones that are nearer to each other beat, and one that has another's very frequency may double it or cancel it:
//! what they add to the sum is in `renderer/near.rs`.
//!
//! The filters are BS.1770's own at 48 kHz; at other rates their analogue prototypes are transformed anew (the
//! parameters are those that reproduce the standard's coefficients: De Man 2018). Sources: ITU-R BS.1770-5, annex 1;
//! EBU Tech 3341.
use crate::program::NoiseColor;

/// The loudness of silence, as far as it is told.
pub const LOUDNESS_MIN_LUFS: f32 = -120.0;
/// What BS.1770 adds, so that 997 Hz at full scale on one ear is −3.01 LUFS.
const OFFSET_DB: f64 = -0.691;
/// The momentary loudness is a mean over so many bins of 10 ms.
const BINS: usize = 40;
const BINS_PER_S: u32 = 100;

/// The loudness of a K-weighted power that both ears add up to.
pub fn lufs(power: f64) -> f32 {
    ((OFFSET_DB + 10.0 * power.max(1e-30).log10()) as f32).max(LOUDNESS_MIN_LUFS)
}

/// The K-weighted power of both ears together at a loudness of `lufs`.
pub fn power_at(lufs: f64) -> f64 {
    10f64.powf((lufs - OFFSET_DB) / 10.0)
}

/// b0 b1 b2 over 1 a1 a2.
#[derive(Clone, Copy, Debug)]
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

impl Biquad {
    /// The high shelf, for what a head does.
    fn shelf(sample_rate: u32) -> Self {
        let (hz, gain_db, q) = (1_681.974_450_955_533, 3.999_843_853_973_347, 0.707_175_236_955_419_6);
        let k = (core::f64::consts::PI * hz / f64::from(sample_rate)).tan();
        let high = 10f64.powf(gain_db / 20.0);
        let band = high.powf(0.499_666_774_154_541_6);
        let a0 = 1.0 + k / q + k * k;
        Self {
            b: [(high + band * k / q + k * k) / a0, 2.0 * (k * k - high) / a0, (high - band * k / q + k * k) / a0],
            a: [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0],
        }
    }

    /// The high-pass, for what low frequencies do not do.
    fn high_pass(sample_rate: u32) -> Self {
        let (hz, q) = (38.135_470_876_024_44, 0.500_327_037_323_877_3);
        let k = (core::f64::consts::PI * hz / f64::from(sample_rate)).tan();
        let a0 = 1.0 + k / q + k * k;
        Self { b: [1.0, -2.0, 1.0], a: [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0] }
    }

    /// The squared magnitude of the response at `turns` a sample.
    fn power(&self, turns: f64) -> f64 {
        let w = core::f64::consts::TAU * turns;
        let square = |c: [f64; 3]| {
            let re = c[0] + c[1] * w.cos() + c[2] * (2.0 * w).cos();
            let im = c[1] * w.sin() + c[2] * (2.0 * w).sin();
            re * re + im * im
        };
        square(self.b) / square([1.0, self.a[0], self.a[1]])
    }
}

/// A filter's memory, in the transposed direct form II.
#[derive(Clone, Copy, Default, Debug)]
struct Memory([f64; 2]);

impl Memory {
    #[inline(always)]
    fn pass(&mut self, filter: &Biquad, x: f64) -> f64 {
        let y = filter.b[0] * x + self.0[0];
        self.0[0] = filter.b[1] * x - filter.a[0] * y + self.0[1];
        self.0[1] = filter.b[2] * x - filter.a[1] * y;
        y
    }
}

/// Measures the momentary loudness and the sample peak of a stereo signal. Realtime-safe throughout.
#[derive(Clone, Debug)]
pub struct Meter {
    filters: [Biquad; 2],
    memory: [[Memory; 2]; 2],
    bins: [f64; BINS],
    peaks: [f32; BINS],
    /// Which bin is being filled.
    bin: usize,
    sum: f64,
    peak: f32,
    count: u32,
    bin_samples: u32,
}

impl Meter {
    /// A meter at `sample_rate` samples a second that has heard nothing.
    pub fn new(sample_rate: u32) -> Self {
        Self {
            filters: [Biquad::shelf(sample_rate), Biquad::high_pass(sample_rate)],
            memory: Default::default(),
            bins: [0.0; BINS],
            peaks: [0.0; BINS],
            bin: 0,
            sum: 0.0,
            peak: 0.0,
            count: 0,
            bin_samples: (sample_rate / BINS_PER_S).max(1),
        }
    }

    /// Hears the next samples of both ears. What is not finite counts as silence.
    pub fn take(&mut self, left: &[f32], right: &[f32]) {
        for (left, right) in left.iter().zip(right) {
            for (x, memory) in [*left, *right].into_iter().zip(&mut self.memory) {
                let x = if x.is_finite() { x } else { 0.0 };
                self.peak = self.peak.max(x.abs());
                let shelved = memory[0].pass(&self.filters[0], f64::from(x));
                let y = memory[1].pass(&self.filters[1], shelved);
                self.sum += y * y;
            }
            self.count += 1;
            if self.count == self.bin_samples {
                self.bins[self.bin] = self.sum / f64::from(self.count);
                self.peaks[self.bin] = self.peak;
                self.bin = (self.bin + 1) % BINS;
                (self.sum, self.peak, self.count) = (0.0, 0.0, 0);
                self.settle();
            }
        }
    }

    /// The loudness of the last 400 ms in LUFS, to 10 ms; at least [`LOUDNESS_MIN_LUFS`].
    pub fn momentary_lufs(&self) -> f32 {
        lufs(self.bins.iter().sum::<f64>() / BINS as f64)
    }

    /// The largest sample of the last 400 ms, linear.
    pub fn peak(&self) -> f32 {
        self.peaks.iter().fold(self.peak, |most, peak| most.max(*peak))
    }

    /// In silence the filters' memory falls without end; below −300 dB it is made zero, as denormals are slow.
    fn settle(&mut self) {
        for memory in self.memory.iter_mut().flatten() {
            if memory.0.iter().all(|x| x.abs() < 1e-15) {
                *memory = Memory::default();
            }
        }
    }
}

/// Steps of the table in an octave, as a power of two, and its lowest and highest octaves.
const STEPS_LOG2: u32 = 3;
const OCTAVE_MIN: u32 = 2;
const OCTAVES: u32 = 15;
const ENTRIES: usize = (OCTAVES as usize) << STEPS_LOG2;

/// K²(f): by how much the power of a sine counts in its loudness. From 4 Hz to 131 kHz; what is lower counts as 4 Hz.
#[derive(Clone, Debug)]
pub struct Weights {
    table: [f32; ENTRIES + 1],
}

impl Weights {
    /// The weights as BS.1770's filters have them at `sample_rate`. Not for every block: it fills a table.
    pub fn new(sample_rate: u32) -> Self {
        let (shelf, high_pass) = (Biquad::shelf(sample_rate), Biquad::high_pass(sample_rate));
        let at = |step: usize| {
            let steps = 1 << STEPS_LOG2;
            let octave = f64::from(1u32 << (OCTAVE_MIN as usize + step / steps));
            let hz = octave * (1.0 + (step % steps) as f64 / f64::from(1u32 << STEPS_LOG2));
            let turns = (hz / f64::from(sample_rate)).min(0.5);
            (shelf.power(turns) * high_pass.power(turns)) as f32
        };
        Self { table: core::array::from_fn(at) }
    }

    /// K² at `hz`, on a line between two steps of an eighth of an octave's width: to 0.1 dB above 20 Hz. Realtime-safe.
    #[inline]
    pub fn of(&self, hz: f64) -> f32 {
        const FRACTION: u32 = 23 - STEPS_LOG2;
        const BASE: u32 = (127 + OCTAVE_MIN) << 23;
        // A float's exponent and leading digits number the steps of every octave; the rest says how far between two.
        let bits = (hz.abs() as f32).to_bits().clamp(BASE, BASE + (OCTAVES << 23) - 1) - BASE;
        let (step, share) = ((bits >> FRACTION) as usize, (bits & ((1 << FRACTION) - 1)) as f32);
        let (low, high) = (self.table[step], self.table[step + 1]);
        low + (high - low) * share / (1u32 << FRACTION) as f32
    }
}

/// The K-weighted power on both ears of noise whose coefficient is 1: its spectrum under K², integrated at 48 kHz.
pub const fn noise_power(color: NoiseColor) -> f32 {
    match color {
        NoiseColor::White => 0.156_5,
        NoiseColor::Pink => 0.076_0,
        NoiseColor::Brown => 0.008_63,
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::oscillators::Noise;
    use crate::units::NodeTime;

    fn tone(hz: f64, dbfs: f64, sample_rate: u32, seconds: f64) -> Vec<f32> {
        let amplitude = 10f64.powf(dbfs / 20.0);
        let samples = (seconds * f64::from(sample_rate)) as u32;
        let turn = core::f64::consts::TAU * hz / f64::from(sample_rate);
        (0..samples).map(|i| (amplitude * (turn * f64::from(i)).sin()) as f32).collect()
    }

    fn momentary(sample_rate: u32, x: &[f32]) -> f32 {
        let mut meter = Meter::new(sample_rate);
        meter.take(x, x);
        meter.momentary_lufs()
    }

    /// EBU Tech 3341, test cases 1 and 2: a stereo sine of 1 kHz at −23 and at −33 dBFS reads so many LUFS, ±0.1.
    #[test]
    fn the_ebus_reference_tones_read_what_they_are() {
        for sample_rate in [44_100, 48_000, 96_000, 192_000] {
            for dbfs in [-23.0, -33.0, -69.0] {
                let read = momentary(sample_rate, &tone(1_000.0, dbfs, sample_rate, 2.0));
                assert!((f64::from(read) - dbfs).abs() < 0.1, "{dbfs} dBFS at {sample_rate}: {read}");
            }
        }
    }

    /// BS.1770-5, table 1 and 2: the coefficients at 48 kHz.
    #[test]
    fn the_filters_are_the_standards_own_at_48_khz() {
        let shelf = Biquad::shelf(48_000);
        let near = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
        near(shelf.b[0], 1.535_124_859_586_97);
        near(shelf.b[1], -2.691_696_189_406_38);
        near(shelf.b[2], 1.198_392_810_852_85);
        near(shelf.a[0], -1.690_659_293_182_41);
        near(shelf.a[1], 0.732_480_774_215_85);
        let high_pass = Biquad::high_pass(48_000);
        near(high_pass.a[0], -1.990_047_454_833_98);
        near(high_pass.a[1], 0.990_072_250_366_21);
    }

    #[test]
    fn what_coefficients_foretell_is_what_the_meter_reads() {
        for sample_rate in [44_100, 48_000] {
            let weights = Weights::new(sample_rate);
            for hz in [20.0, 33.0, 59.0, 100.0, 201.7, 440.0, 997.0, 3_000.0, 12_000.0] {
                let read = momentary(sample_rate, &tone(hz, -12.0, sample_rate, 3.0));
                let foretold = lufs(10f64.powf(-1.2) * f64::from(weights.of(hz)));
                assert!((read - foretold).abs() < 0.15, "{hz} Hz at {sample_rate}: {read} {foretold}");
            }
        }
    }

    #[test]
    fn a_weight_is_a_number_for_whatever_frequency() {
        let weights = Weights::new(48_000);
        for hz in [0.0, -0.0, 1e-300, -200.0, 3.9, 4.0, 131_071.9, 131_072.0, 1e300, f64::INFINITY, f64::NAN] {
            let weight = weights.of(hz);
            assert!((0.0..3.0).contains(&weight), "{hz}: {weight}");
        }
        assert_eq!(weights.of(-200.0), weights.of(200.0));
    }

    #[test]
    fn noise_is_as_loud_as_is_foretold() {
        for color in [NoiseColor::White, NoiseColor::Pink, NoiseColor::Brown] {
            let (mut noise, mut meter) = (Noise::new(color, 1), Meter::new(48_000));
            let step = (1_000_000_000u64 << 32) / 48_000;
            let (mut power, mut t) = (0.0, 0i64);
            for _ in 0..100 {
                let mut x = vec![0.0; 19_200];
                noise.fill(NodeTime::from_ns(t), 0, step, &mut x);
                meter.take(&x, &x);
                power += power_at(f64::from(meter.momentary_lufs())) / 100.0;
                t += 400_000_000;
            }
            let off_db = 10.0 * (power / f64::from(noise_power(color))).log10();
            assert!(off_db.abs() < 0.3, "{color:?}: {power}, {off_db} dB off");
        }
    }

    #[test]
    fn silence_and_nonsense_are_silent() {
        let mut meter = Meter::new(48_000);
        meter.take(&[f32::NAN; 480], &[f32::INFINITY; 480]);
        assert_eq!((meter.momentary_lufs(), meter.peak()), (LOUDNESS_MIN_LUFS, 0.0));
        meter.take(&[0.5], &[-0.7]);
        assert_eq!(meter.peak(), 0.7, "at once");
        meter.take(&[0.0; 48_000], &[0.0; 48_000]);
        assert_eq!((meter.momentary_lufs(), meter.peak()), (LOUDNESS_MIN_LUFS, 0.0));
    }
}
