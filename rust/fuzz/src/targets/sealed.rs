//! Sealed datagrams: spoiled and repeated ones between a platform and its sanctuary, and what they hold.
//!
//! A mix frame that can be read is written again as the same bytes: there is no bit in it that means nothing.
use harmonia_core::frame::{MixFrame, Status, Withdraw, PAYLOAD_MAX};
use harmonia_core::seal::{claimed_session, Direction, Opener, Sealer, Use, DATAGRAM_MAX};

use super::{refused, Target};
use crate::mutate::mutate;
use crate::random::Random;
use crate::End;

/// Datagrams that are kept to be repeated: more than the window of counters that a receiver remembers.
const KEPT: usize = 100;

/// See the module.
pub struct SealedTarget {
    sealer: Sealer,
    opener: Opener,
    /// Genuine datagrams, and whether each was opened.
    kept: Vec<(Vec<u8>, bool)>,
    next: usize,
}

impl Default for SealedTarget {
    fn default() -> Self {
        let (secret, session) = ([7; 32], 42);
        Self {
            sealer: Sealer::new(&secret, session, Direction::Up),
            opener: Opener::new(&secret, session, Direction::Up),
            kept: Vec::new(),
            next: 0,
        }
    }
}

/// Reads `payload` as everything that it might be; whether it is a mix frame, or what is wrong with it as such.
fn read(payload: &[u8]) -> Result<bool, String> {
    let _ = (Status::decode(payload), Withdraw::decode(payload));
    let Ok(frame) = MixFrame::decode(payload) else { return Ok(false) };
    let mut again = [0; PAYLOAD_MAX];
    let len = frame.encode(&mut again);
    if again[..len] != *payload {
        return Err(format!("a mix frame was written again as {:02x?}", &again[..len]));
    }
    Ok(true)
}

impl SealedTarget {
    fn seal(&mut self, random: &mut Random) -> usize {
        let mut payload = [0; 200];
        let len = random.below(payload.len());
        random.fill(&mut payload[..len]);
        // Every other one is as long as a mix frame of some channels, and says so.
        let (channels, head) = (len / 16, 42);
        let frame = random.one_in(2);
        let len = if frame { head + 8 * channels } else { len };
        if frame {
            (payload[0], payload[1]) = (random.below(10) as u8, channels as u8);
        }
        let mut out = [0; DATAGRAM_MAX];
        let kind = random.pick(&[Use::Status, Use::Withdraw]);
        let len = self.sealer.seal(kind, &payload[..len], &mut out).expect("a payload that fits");
        let fresh = (out[..len].to_vec(), false);
        let place = self.next % KEPT;
        self.next += 1;
        match self.kept.get_mut(place) {
            Some(kept) => *kept = fresh,
            None => self.kept.push(fresh),
        }
        place
    }
}

impl Target for SealedTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        let place =
            if self.kept.is_empty() || random.one_in(8) { self.seal(random) } else { random.below(self.kept.len()) };
        input.extend(&self.kept[place].0);
        if !random.one_in(4) {
            mutate(random, input);
        }
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        let genuine = self.kept.iter().position(|(datagram, _)| datagram == input);
        let mut datagram = input.to_vec();
        let _ = claimed_session(input);
        read(input)?;
        match (self.opener.open(&mut datagram), genuine) {
            (Ok((_, payload)), Some(place)) if !self.kept[place].1 => {
                let frame = read(payload)?;
                self.kept[place].1 = true;
                Ok(refused(if frame { "opened: a mix frame" } else { "opened: genuine" }))
            }
            (Ok(_), Some(_)) => Err("a repeated datagram was opened".into()),
            (Ok(_), None) => Err("a forged datagram was opened".into()),
            (Err(_), Some(place)) if self.kept[place].1 => Ok(End { name: "refused: repeated", forged: true }),
            // Never opened, and by now too old to tell.
            (Err(_), Some(_)) => Ok(refused("refused: too old")),
            (Err(_), None) => Ok(End { name: "refused: forged", forged: true }),
        }
    }
}
