//! NTS key establishment: spoiled messages, in pieces of any size, to both ends.
use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::ke::{Choice, KeClient, KeServer};

use super::{refused, Target};
use crate::mutate::mutate;
use crate::random::Random;
use crate::End;

/// See the module.
#[derive(Default)]
pub struct KeTarget {
    turn: usize,
}

const OFFERS: [&[Algorithm]; 3] = [&[Algorithm::AesSivCmac256], &[Algorithm::Aes128GcmSiv], &Algorithm::ALL];

impl Target for KeTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        match random.below(3) {
            0 => input.extend(KeClient::new(random.pick(&OFFERS)).request()),
            1 => {
                let choices = [
                    Choice::Agreed(Algorithm::AesSivCmac256),
                    Choice::Agreed(Algorithm::Aes128GcmSiv),
                    Choice::NoAlgorithm,
                    Choice::NoProtocol,
                ];
                let cookies = vec![vec![7; 4 * random.below(30)]; random.below(10)];
                input.extend(KeServer::response(random.pick(&choices), &cookies, random.next_u64() as u16));
            }
            _ => {
                for _ in 0..random.below(10) {
                    let kind = if random.one_in(8) { random.next_u64() as u16 } else { random.below(9) as u16 };
                    let critical = if random.one_in(2) { 0x8000 } else { 0 };
                    input.extend((kind | critical).to_be_bytes());
                    let len = random.below(6);
                    input.extend((len as u16).to_be_bytes());
                    let start = input.len();
                    input.resize(start + len, 0);
                    random.fill(&mut input[start..]);
                }
                input.extend([0x80, 0, 0, 0]);
            }
        }
        if !random.one_in(6) {
            mutate(random, input);
        }
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        self.turn += 1;
        let offer = OFFERS[self.turn % OFFERS.len()];
        let piece = 1 + self.turn % 61;
        let (mut server, mut client) = (KeServer::default(), KeClient::new(offer));
        let (mut chosen, mut agreed) = (Ok(None), Ok(None));
        for bytes in input.chunks(piece) {
            if chosen == Ok(None) {
                chosen = server.handle_input(bytes);
            }
            if agreed == Ok(None) {
                agreed = client.handle_input(bytes);
            }
        }
        if chosen != KeServer::default().handle_input(input) || agreed != KeClient::new(offer).handle_input(input) {
            return Err(format!("pieces of {piece} bytes mean something else than the whole"));
        }
        if let Ok(Some(agreement)) = &agreed {
            if !offer.contains(&agreement.algorithm) || !(1..=8).contains(&agreement.cookies.len()) {
                return Err(format!("the client agreed to what it had not offered: {agreement:?}"));
            }
        }
        Ok(refused(match (chosen, agreed) {
            (_, Ok(Some(_))) => "the client agrees",
            (Ok(Some(Choice::Agreed(_))), _) => "the server agrees",
            (Ok(Some(_)), _) => "nothing in common",
            (Ok(None), Ok(None)) => "incomplete",
            _ => "refused",
        }))
    }
}
