//! Every listener's mix of the others, at the price of one pass over memory.
//!
//! [`crate::mixer::CircleMixer`] knows people: names, latches, plans, wishes. A tick must know none of that. It has ten
//! thousand mixes to make while a withdrawal may be waiting, so here a sleeper is a *place*: an index at which their part,
//! level and exclusions stand in columns, and a mix is
//!
//! ```text
//! m_i = h_i · (A − own_i − Σ those kept apart from i)          A = Σ of the parts that sound, in integers
//! ```
//!
//! which is 2·K subtractions, conversions and products for each place, and K more for each exclusion.
//!
//! The two are apart in another sense too: they live on different threads. Whoever changes something changes the mixer and
//! hands what follows from it over as [`Change`]s; the owner of the table applies them between two mixes. Applying costs
//! O(K), allocates and frees nothing: whatever is replaced goes back inside the change, to be dropped by whoever made it.
//! Even room for more sleepers is made on the other side, and swapped in.
use num_complex::Complex;
use pulp::Arch;

use crate::field::{Field, UNIT};
use crate::hush::Hush;
use crate::program::CHANNELS_MAX;

/// What follows for the table from something that happened to the mixer. To be applied in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Room for more places than there are; afterwards, the columns that are no longer needed.
    Grow(Columns),
    /// A sleeper's weighted voice; afterwards, the one before.
    Part(usize, Field),
    /// What a sleeper's mix is made of, and whether they are in others'.
    Row(usize, Row),
    /// Whose parts are not in a sleeper's mix, by place; afterwards, whose were not.
    Apart(usize, Vec<u32>),
    /// Whether the room is silent, from this gate epoch on.
    Hush(Hush, u64),
    /// The gate epoch: what is sealed from here on lacks every voice that was withdrawn before it.
    Epoch(u64),
}

/// One place's scalars.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Row {
    /// Their part is in the field.
    pub live: bool,
    /// Their part is in the field for those who record.
    pub recorded: bool,
    /// They keep what they hear, so that they hear only what may be recorded.
    pub recorder: bool,
    /// They hear others at all.
    pub hears: bool,
    /// How loud.
    pub level: f32,
    /// The place through whose ears they hear, with that one's consent, and how loud that one's own voice is there.
    pub ear: Option<(u32, f32)>,
}

impl Row {
    /// Whether this one's part is in the field that `listener` hears.
    const fn sounds_for(self, listener: Self) -> bool {
        if listener.recorder {
            self.recorded
        } else {
            self.live
        }
    }
}

/// What there is of every place, one column a kind.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Columns {
    /// 2·K integers a place.
    parts: Vec<i64>,
    rows: Vec<Row>,
    apart: Vec<Vec<u32>>,
}

impl Columns {
    /// `places` places of `channels` channels with nobody in them.
    pub fn vacant(places: usize, channels: usize) -> Self {
        Self {
            parts: vec![0; 2 * channels * places],
            rows: vec![Row::default(); places],
            apart: vec![Vec::new(); places],
        }
    }
}

/// The mixes of one circle. Deterministic, and realtime-safe but for [`MixTable::new`].
#[derive(Clone, Debug)]
pub struct MixTable {
    channels: usize,
    columns: Columns,
    live: Field,
    recorded: Field,
    gate_epoch: u64,
    hush: Hush,
}

impl MixTable {
    /// The table of a circle of `channels` channels with no places yet.
    ///
    /// # Panics
    /// If `channels` is more than [`CHANNELS_MAX`].
    pub fn new(channels: usize) -> Self {
        assert!(channels <= CHANNELS_MAX, "a score has at most {CHANNELS_MAX} channels");
        let silent = Field::silent(channels);
        Self {
            channels,
            columns: Columns::default(),
            live: silent.clone(),
            recorded: silent,
            gate_epoch: 0,
            hush: Hush::default(),
        }
    }

    /// How many channels. Realtime-safe.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many places, with somebody in them or without. Realtime-safe.
    pub fn places(&self) -> usize {
        self.columns.rows.len()
    }

    /// The gate epoch of what is mixed now. Realtime-safe.
    pub fn gate_epoch(&self) -> u64 {
        self.gate_epoch
    }

    /// Whether the room is silent. Realtime-safe.
    pub fn hush(&self) -> Hush {
        self.hush
    }

    /// Does what `change` says, and leaves in it what it replaced. Realtime-safe.
    ///
    /// # Panics
    /// If it names a place that no [`Change::Grow`] made, or a part has other channels: our own mistake.
    pub fn apply(&mut self, change: &mut Change) {
        match change {
            Change::Grow(room) => self.grow(room),
            Change::Part(place, part) => {
                let (row, range) = (self.columns.rows[*place], self.range(*place));
                self.leave(row, range.clone());
                self.columns.parts[range.clone()].swap_with_slice(part.sums_mut());
                self.enter(row, range);
            }
            Change::Row(place, row) => {
                let range = self.range(*place);
                self.leave(self.columns.rows[*place], range.clone());
                self.enter(*row, range);
                std::mem::swap(&mut self.columns.rows[*place], row);
            }
            Change::Apart(place, others) => std::mem::swap(&mut self.columns.apart[*place], others),
            Change::Hush(hush, epoch) => (self.hush, self.gate_epoch) = (*hush, *epoch),
            Change::Epoch(epoch) => self.gate_epoch = *epoch,
        }
    }

    fn grow(&mut self, room: &mut Columns) {
        let old = &mut self.columns;
        room.parts[..old.parts.len()].copy_from_slice(&old.parts);
        room.rows[..old.rows.len()].copy_from_slice(&old.rows);
        old.apart.iter_mut().zip(&mut room.apart).for_each(|(old, new)| std::mem::swap(old, new));
        std::mem::swap(old, room);
    }

    fn range(&self, place: usize) -> core::ops::Range<usize> {
        2 * self.channels * place..2 * self.channels * (place + 1)
    }

    fn leave(&mut self, row: Row, range: core::ops::Range<usize>) {
        let part = &self.columns.parts[range];
        if row.live {
            self.live.remove_sums(part);
        }
        if row.recorded {
            self.recorded.remove_sums(part);
        }
    }

    fn enter(&mut self, row: Row, range: core::ops::Range<usize>) {
        let part = &self.columns.parts[range];
        if row.live {
            self.live.add_sums(part);
        }
        if row.recorded {
            self.recorded.add_sums(part);
        }
    }

    /// What the sleepers at `first` and the places after it hear of the others, one coefficient a channel each, as many
    /// places as `out` has room for: all zero where nobody hears. Realtime-safe.
    ///
    /// # Panics
    /// If `out` is no whole number of mixes, or of more places than there are.
    pub fn mixes(&self, first: usize, out: &mut [Complex<f32>]) {
        if self.channels == 0 {
            return;
        }
        assert!(out.len().is_multiple_of(self.channels), "a mix has one coefficient a channel");
        Arch::new().dispatch(|| {
            for (place, out) in out.chunks_exact_mut(self.channels).enumerate() {
                self.mix(first + place, out);
            }
        });
    }

    /// The place through whose ears the sleeper at `place` hears. Realtime-safe.
    pub fn ear(&self, place: usize) -> Option<usize> {
        self.columns.rows.get(place)?.ear.map(|(ear, _)| ear as usize)
    }

    #[inline(always)]
    fn mix(&self, place: usize, out: &mut [Complex<f32>]) {
        match self.columns.rows[place].ear {
            None => self.heard(place, self.columns.rows[place], &[], out),
            Some((ear, own_level)) => self.overheard(place, ear as usize, own_level, out),
        }
    }

    /// What the sleeper at `ear` hears, of themself too, less what the one at `place` may not hear or not keep.
    fn overheard(&self, place: usize, ear: usize, own_level: f32, out: &mut [Complex<f32>]) {
        let Columns { parts, rows, apart } = &self.columns;
        let row = rows[place];
        let through = Row { recorder: row.recorder, hears: row.hears && rows[ear].hears, ..rows[ear] };
        self.heard(ear, through, &apart[place], out);
        if row.hears && through.sounds_for(through) && !apart[place].contains(&(ear as u32)) {
            let (own, scale) = (&parts[2 * self.channels * ear..], f64::from(own_level) * UNIT);
            for (out, own) in out.iter_mut().zip(own.chunks_exact(2)) {
                *out += Complex::new((to_f64(own[0]) * scale) as f32, (to_f64(own[1]) * scale) as f32);
            }
        }
    }

    /// What the sleeper at `place` hears of the others, as `row` says, less those `besides`.
    #[inline(always)]
    fn heard(&self, place: usize, row: Row, besides: &[u32], out: &mut [Complex<f32>]) {
        let Columns { parts, rows, apart } = &self.columns;
        let width = 2 * self.channels;
        if !row.hears {
            out.fill(Complex::default());
            return;
        }
        let field = if row.recorder { self.recorded.sums() } else { self.live.sums() };
        let scale = f64::from(row.level) * UNIT;
        let own = &parts[width * place..][..width];
        // Who is not in the field is not taken out of it: by a mask, as one pass is cheaper than a branch in it.
        let mask = if row.sounds_for(row) { -1 } else { 0 };
        if apart[place].is_empty() && besides.is_empty() {
            for ((out, field), own) in out.iter_mut().zip(field.chunks_exact(2)).zip(own.chunks_exact(2)) {
                *out = Complex::new(
                    (to_f64(field[0].wrapping_sub(own[0] & mask)) * scale) as f32,
                    (to_f64(field[1].wrapping_sub(own[1] & mask)) * scale) as f32,
                );
            }
            return;
        }
        let mut rest = [0i64; 2 * CHANNELS_MAX];
        let rest = &mut rest[..width];
        for ((rest, field), own) in rest.iter_mut().zip(field).zip(own) {
            *rest = field.wrapping_sub(own & mask);
        }
        let besides = besides.iter().filter(|other| **other != place as u32 && !apart[place].contains(other));
        for &other in apart[place].iter().chain(besides) {
            if rows[other as usize].sounds_for(row) {
                let part = &parts[width * other as usize..][..width];
                rest.iter_mut().zip(part).for_each(|(rest, part)| *rest = rest.wrapping_sub(*part));
            }
        }
        for (out, rest) in out.iter_mut().zip(rest.chunks_exact(2)) {
            *out = Complex::new((to_f64(rest[0]) * scale) as f32, (to_f64(rest[1]) * scale) as f32);
        }
    }

    /// The whole field as somebody outside would hear it; with `recorded` only of those who allow it. Realtime-safe.
    ///
    /// # Panics
    /// If `out` has not one place a channel.
    pub fn field_into(&self, recorded: bool, out: &mut [Complex<f32>]) {
        if recorded { &self.recorded } else { &self.live }.scaled_into(1.0, out);
    }
}

/// The nearest `f64`, by two conversions of 32 bits, which processors have many at once; of 64 bits, few have.
///
/// Both halves are exact, so the sum is rounded once: the same number as `x as f64`, to the bit.
#[inline(always)]
fn to_f64(x: i64) -> f64 {
    f64::from((x >> 32) as i32) * 4_294_967_296.0 + f64::from(x as u32)
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_halves_are_converted_as_one(x in any::<i64>(), bits in 0u32..63) {
            let x = x >> bits;
            prop_assert_eq!(to_f64(x).to_bits(), (x as f64).to_bits());
        }
    }

    #[test]
    fn growing_moves_nobody() {
        let mut table = MixTable::new(1);
        let part = Field::of(&crate::voice::Voice::ones(1), 0.25);
        let row = Row { live: true, recorded: false, recorder: false, hears: true, level: 1.0, ear: None };
        for change in [Change::Grow(Columns::vacant(2, 1)), Change::Part(0, part.clone()), Change::Part(1, part)] {
            table.apply(&mut change.clone());
        }
        for place in 0..2 {
            table.apply(&mut Change::Row(place, row));
        }
        table.apply(&mut Change::Apart(1, vec![0]));
        let mut before = [Complex::default(); 2];
        table.mixes(0, &mut before);
        assert_eq!(before, [Complex::new(0.25, 0.0), Complex::default()]);
        let mut change = Change::Grow(Columns::vacant(4, 1));
        table.apply(&mut change);
        let Change::Grow(old) = change else { unreachable!("it was made so") };
        assert_eq!((old.rows.len(), table.places()), (2, 4), "what was replaced comes back");
        let mut after = [Complex::default(); 4];
        table.mixes(0, &mut after);
        assert_eq!((&after[..2], &after[2..]), (&before[..], &[Complex::default(); 2][..]));
    }
}
