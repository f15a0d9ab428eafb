//! Keys and signatures, changed at random under fixed seeds: nothing panics, nothing takes long, and no changed signature
//! counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tests::{key, text, vectors};
use super::*;

/// Rounds for each key and each signature.
const ROUNDS: u64 = 400;

/// SplitMix64: the same numbers everywhere, from one seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }
}

/// `bytes` with one to three changes: a bit, a byte, a length, a cut, a piece twice, a piece less.
fn changed(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        let place = numbers.below(bytes.len());
        let some = numbers.next().to_be_bytes();
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << (some[0] % 8),
            1 if !bytes.is_empty() => bytes[place] = some[0],
            2 if bytes.len() >= place + 4 => bytes[place..place + 4].copy_from_slice(&some[..4]),
            3 => bytes.truncate(place),
            4 => {
                let piece = bytes[place..(place + numbers.below(40)).min(bytes.len())].to_vec();
                bytes.splice(place..place, piece);
            }
            5 => drop(bytes.drain(place..(place + numbers.below(9)).min(bytes.len()))),
            _ => bytes.extend_from_slice(&some),
        }
    }
    bytes
}

#[test]
fn changed_keys_are_refused_or_are_other_keys() {
    let vectors = vectors();
    for (name, made) in vectors["keys"].as_object().expect("keys") {
        let line = text(&made["public"]);
        let mut words = line.split(' ');
        let (kind, data) = (words.next().expect("kind"), words.next().expect("data"));
        let blob = STANDARD.decode(data).expect("base64");
        for seed in 0..ROUNDS {
            let numbers = &mut Numbers(seed);
            let other = format!("{kind} {}", STANDARD.encode(changed(&blob, numbers)));
            if let Ok(key) = PublicKey::parse(&other) {
                assert_eq!(PublicKey::parse(&key.to_openssh()), Ok(key), "{name}, seed {seed}");
            }
            let torn = String::from_utf8_lossy(&changed(line.as_bytes(), numbers)).into_owned();
            let _ = PublicKey::parse(&torn);
        }
    }
}

#[test]
fn changed_signatures_do_not_count() {
    let vectors = vectors();
    let challenge = text(&vectors["challenge"]).as_bytes();
    for made in vectors["signatures"].as_array().expect("signatures") {
        let (name, form, response) = (text(&made["key"]), text(&made["form"]), text(&made["response"]));
        if form == "sshsig-plain" || form.starts_with("raw pss") {
            // The first is the same in other letters, the others take long to refuse, and raw ones are all bytes alike.
            continue;
        }
        let key = key(&vectors, name);
        let bytes = STANDARD.decode(response).expect("base64");
        let original = Response::parse(response).expect("a signature");
        for seed in 0..if form.contains("raw") { ROUNDS / 20 } else { ROUNDS } {
            let other = STANDARD.encode(changed(&bytes, &mut Numbers(seed)));
            let Ok(parsed) = Response::parse(&other) else { continue };
            if parsed == original {
                continue;
            }
            let verdict = key.verify(challenge, &parsed, Sha1::Refused);
            assert!(verdict.is_err(), "{name} {form}, seed {seed}");
        }
    }
}
