//! What strangers send, changed at random: nothing that reads it panics, and what was read can be written and read again.
//!
//! Each test is a target with samples of its own. Its inputs are samples, and what changes of them led to something new: an
//! outcome that was not seen before is kept and changed further. `SIGNALBOX_FUZZ_SECONDS` says for how long each target
//! runs (`cargo xtask fuzz` sets it); without it a target runs a fixed number of inputs. `SIGNALBOX_FUZZ_SEED` says where
//! the numbers begin.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests fail where something is not as expected"
)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use signalbox_bus::{Pattern, Subject};
use signalbox_wire::artcafe::frames::{Answer, Ask, Direct, Publish, Subscribe, Unsubscribe};
use signalbox_wire::artcafe::live::{Ack, Envelope, Heartbeat, Response, Status};
use signalbox_wire::body;
use signalbox_wire::id::TenantId;
use signalbox_wire::jwt::{SigningKey, Unchecked};
use signalbox_wire::ssh::{self, PublicKey};
use signalbox_wire::time::Timestamp;

/// Inputs of a target without a time.
const INPUTS: u64 = 20_000;
/// Inputs between two looks at the clock.
const BETWEEN: u64 = 256;
/// Inputs that are kept to be changed further.
const KEPT_MAX: usize = 4_096;
/// Bytes of an input.
const BYTES_MAX: usize = 4_096;

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

/// What texts are made of that mean something to a parser.
const PIECES: [&[u8]; 20] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b".",
    b"*",
    b">",
    b"\\",
    b"\\u0000",
    b"null",
    b"1e999",
    b"-1",
    b"=",
    b" ",
    b"\n",
    b"\xff",
    "\u{1f980}".as_bytes(),
];

/// `bytes` with one to four changes; `other` is another input, of which a piece may be taken.
fn changed(bytes: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(bytes.len() + 1);
        let end = (place + numbers.below(40)).min(bytes.len());
        let some = numbers.next().to_be_bytes();
        match numbers.below(8) {
            0 if place < bytes.len() => bytes[place] ^= 1 << (some[0] % 8),
            1 if place < bytes.len() => bytes[place] = some[0],
            2 => bytes.truncate(place),
            3 => drop(bytes.drain(place..end)),
            4 => {
                let piece = bytes[place..end].to_vec();
                bytes.splice(place..place, piece);
            }
            5 => {
                let from = numbers.below(other.len() + 1);
                let to = (from + numbers.below(80)).min(other.len());
                bytes.splice(place..end, other[from..to].iter().copied());
            }
            6 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                bytes.splice(place..place, piece.iter().copied());
            }
            _ => drop(bytes.splice(place..place, some)),
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

/// Tells the input where reading it panics.
struct Told<'a>(&'a str, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("target {}, input {:?}", self.0, self.1.escape_ascii().to_string());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a target; `read` answers what came of an input, in few words.
#[expect(clippy::disallowed_methods, reason = "how long a target runs is asked for in seconds")]
fn fuzz(target: &str, samples: &[Vec<u8>], read: impl Fn(&[u8]) -> String) {
    let limit = number("SIGNALBOX_FUZZ_SECONDS").map(Duration::from_secs);
    let mut numbers = Numbers(number("SIGNALBOX_FUZZ_SEED").unwrap_or(1));
    let (mut kept, mut seen) = (samples.to_vec(), HashSet::new());
    for sample in samples {
        let _told = Told(target, sample);
        seen.insert(read(sample));
    }
    let (started, mut inputs) = (Instant::now(), 0_u64);
    loop {
        let is_over = match limit {
            Some(limit) => inputs.is_multiple_of(BETWEEN) && started.elapsed() >= limit,
            None => inputs >= INPUTS,
        };
        if is_over {
            break;
        }
        let (one, other) = (numbers.below(kept.len()), numbers.below(kept.len()));
        let input = changed(&kept[one], &kept[other], &mut numbers);
        let _told = Told(target, &input);
        let outcome = read(&input);
        if seen.len() < KEPT_MAX && seen.insert(outcome) {
            kept.push(input.clone());
        }
        inputs += 1;
    }
    eprintln!("target {target}: {inputs} inputs, {} outcomes", seen.len());
}

fn samples(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// An outcome without what numbers and names it quotes.
fn outline(text: &str) -> String {
    text.chars().filter(|one| one.is_ascii_alphabetic() || *one == '/').take(60).collect()
}

const FRAMES: [&str; 10] = [
    r#"{"type":"heartbeat","id":"h1","data":{"agent_id":"a","status":"online","cpu_usage":12.5,"memory_usage":256.3}}"#,
    r#"{"type":"status","id":"s1","data":{"status":"busy","current_task":"tsk_1-1","progress":45},"timestamp":"2026-01-31T12:00:00Z"}"#,
    r#"{"type":"response","id":"r1","data":{"command_id":"cmd_1","status":"success","result":{"a":[1,2]}}}"#,
    r#"{"type":"ack","data":{"message_id":"m1","sequence":7}}"#,
    r#"{"type":"subscribe","id":"u1","data":{"subject":"a.*.>","after":{"a.b":3},"presence":true}}"#,
    r#"{"type":"unsubscribe","id":"u2","data":{"channel_id":"chn_1"}}"#,
    r#"{"type":"publish","id":"p1","data":{"subject":"a.b","payload":{"text":"x"}},"timestamp":"2026-01-31T12:00:00.5+01:00"}"#,
    r#"{"type":"message","id":"d1","data":{"to":"agt_1","payload":[true,null]}}"#,
    r#"{"type":"request","id":"q1","data":{"to":"agt_1","payload":1,"timeout":2.5}}"#,
    r#"{"type":"reply","id":"y1","data":{"reply_to":"nod_1.7","payload":""}}"#,
];

#[test]
fn envelopes() {
    fuzz("envelopes", &samples(&FRAMES), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let envelope = match Envelope::read(text) {
            Ok(envelope) => envelope,
            Err(fault) => return outline(&format!("{:?} {}", fault.pointer, fault.message)),
        };
        let data = envelope.data.as_bytes();
        macro_rules! read {
            ($body:ty) => {
                match body::parse::<$body>(data) {
                    Ok(_) => format!("{} read", stringify!($body)),
                    Err(error) => outline(&format!("{} {error:?}", stringify!($body))),
                }
            };
        }
        match &*envelope.kind {
            "heartbeat" => format!("{}", serde_json::from_str::<Heartbeat>(envelope.data).is_ok()),
            "status" => read!(Status),
            "response" => read!(Response),
            "ack" => read!(Ack),
            "subscribe" => read!(Subscribe),
            "unsubscribe" => read!(Unsubscribe),
            "publish" => read!(Publish),
            "message" => read!(Direct),
            "request" => read!(Ask),
            "reply" => read!(Answer),
            other => outline(&format!("type {}", other.len().min(8))),
        }
    });
}

#[test]
fn subjects() {
    let (one, other) = (tenant("tnt_one"), tenant("tnt_other"));
    let texts = [
        "news",
        "a.b.c",
        "a.*.c",
        "a.>",
        ">",
        "*",
        "ü.%2e.x",
        "a b.\u{1f980}",
        "tenants.tnt_other.channel.a",
    ];
    fuzz("subjects", &samples(&texts), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let (subject, pattern) = (Subject::channel(&one, text), Pattern::channels(&one, text));
        if let Ok(subject) = &subject {
            let pattern = pattern.as_ref().expect("a subject is a pattern");
            assert!(pattern.matches(subject) && !pattern.has_wildcards());
            assert!(!subject.as_str().contains(['*', '>', ' ', '\r', '\n', '\0']));
            let all = |tenant| Pattern::channels(tenant, ">").expect("a pattern");
            assert!(all(&one).matches(subject), "it is its tenant's");
            assert!(!all(&other).matches(subject), "it is no other tenant's");
            assert_ne!(Subject::channel(&other, text).as_ref(), Ok(subject));
        }
        let wild = pattern.as_ref().is_ok_and(Pattern::has_wildcards);
        format!("{} {} {wild}", outline(&format!("{subject:?}").replace(text, "")).len(), pattern.is_ok())
    });
}

#[test]
fn public_keys() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@here";
    fuzz(
        "public_keys",
        &samples(&[key, "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==", "ssh-dss AAAA"]),
        |bytes| match PublicKey::parse(&String::from_utf8_lossy(bytes)) {
            Ok(key) => {
                assert_eq!(PublicKey::parse(&key.to_openssh()).as_ref(), Ok(&key));
                "a key".to_owned()
            }
            Err(error) => outline(&format!("{error:?}")),
        },
    );
}

#[test]
fn signatures() {
    let armoured = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTk=\n-----END SSH SIGNATURE-----";
    let wire = "AAAAC3NzaC1lZDI1NTE5AAAAQAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";
    fuzz("signatures", &samples(&[armoured, wire, "AAAA", ""]), |bytes| {
        match ssh::Response::parse(&String::from_utf8_lossy(bytes)) {
            Ok(response) => format!("{} {}", response.says_sha1(), response.fingerprint().is_some()),
            Err(error) => format!("{error:?}"),
        }
    });
}

#[test]
fn tokens() {
    let key = SigningKey::from_seed(&[1; 32]).expect("a seed");
    let texts = [
        "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "a.b.c",
        "eyJhbGciOiJub25lIn0..",
    ];
    fuzz("tokens", &samples(&texts), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(token) = Unchecked::parse(&text) else { return "no token".to_owned() };
        assert!(key.verifying().check(&token, Timestamp::from_seconds(1)).is_err(), "nobody signed it");
        format!("a token {}", token.kid.len().min(9))
    });
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).expect("an id")
}
