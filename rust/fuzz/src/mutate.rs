//! Ways to spoil a good datagram: small ones that reach the last check, and large ones that reach the first.
use crate::random::Random;

/// Longer inputs are not made: no datagram that is read here is longer.
pub const LEN_MAX: usize = 1500;

/// Numbers at which length checks go wrong, as 16 bits.
const LENGTHS: [u16; 17] = [0, 1, 2, 3, 4, 8, 12, 15, 16, 20, 24, 27, 28, 32, 48, 0x7FFF, 0xFFFF];

/// Spoils `bytes` in one to four ways. May happen to leave them as they are.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        once(random, bytes);
    }
    bytes.truncate(LEN_MAX);
}

fn once(random: &mut Random, bytes: &mut Vec<u8>) {
    let len = bytes.len();
    if len == 0 {
        bytes.extend(random.next_u64().to_le_bytes());
        return;
    }
    let at = random.below(len);
    // A piece of it, of whole words more often than not.
    let end = at + random.below(len - at + 1);
    let (word, word_end) = (at / 4 * 4, (end.div_ceil(4) * 4).min(len));
    match random.below(11) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next_u64() as u8,
        3 => bytes[at] = random.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
        4 => {
            let value = if random.one_in(2) { random.pick(&LENGTHS) } else { random.below(len + 8) as u16 };
            let half = at / 2 * 2;
            if let Some(place) = bytes.get_mut(half..half + 2) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        }
        5 => bytes.truncate(at),
        6 => bytes.truncate(word),
        7 => {
            let more = random.below(64);
            bytes.resize(len + more, 0);
            random.fill(&mut bytes[len..]);
        }
        8 => {
            let piece = bytes[word..word_end].to_vec();
            let to = random.below(len / 4 + 1) * 4;
            let to = to.min(bytes.len());
            bytes.splice(to..to, piece);
        }
        9 => drop(bytes.drain(word..word_end)),
        _ => {
            let value = random.next_u64() as u8;
            bytes[at..end].fill(value);
        }
    }
}
