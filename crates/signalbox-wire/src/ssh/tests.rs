//! Keys and signatures that other programs made: `ssh-keygen`, `openssl`, and Python's paramiko and cryptography.

use serde_json::Value;

use super::*;

/// What they made; the file says with which versions.
pub(super) fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).expect("JSON")
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub(super) fn key(vectors: &Value, name: &str) -> PublicKey {
    PublicKey::parse(text(&vectors["keys"][name]["public"])).expect("a key")
}

fn verdict(key: &PublicKey, message: &[u8], response: &str, sha1: Sha1) -> Result<(), Refused> {
    key.verify(message, &Response::parse(response).expect("a signature"), sha1)
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let vectors = vectors();
    for (name, made) in vectors["keys"].as_object().expect("keys") {
        let key = key(&vectors, name);
        assert_eq!(key.fingerprint(), text(&made["fingerprint"]), "{name}");
        assert!(text(&made["public"]).starts_with(&key.to_openssh()), "{name}");
        assert_eq!(PublicKey::parse(&key.to_openssh()), Ok(key), "{name}");
    }
}

#[test]
fn every_form_of_every_key_verifies_and_nothing_else() {
    let vectors = vectors();
    let challenge = text(&vectors["challenge"]).as_bytes();
    for made in vectors["signatures"].as_array().expect("signatures") {
        let (name, form, response) = (text(&made["key"]), text(&made["form"]), text(&made["response"]));
        let own = key(&vectors, name);
        let verdict = |key: &PublicKey, message: &[u8]| verdict(key, message, response, Sha1::Refused);
        let expected = match form {
            "namespace file" => Err(Refused::Mismatch),
            _ if form.starts_with("sha1") => Err(Refused::Sha1),
            _ => Ok(()),
        };
        assert_eq!(verdict(&own, challenge), expected, "{name} {form}");
        assert!(verdict(&own, &challenge[1..]).is_err(), "{name} {form}");
        for other in vectors["keys"].as_object().expect("keys").keys().filter(|other| *other != name) {
            assert!(verdict(&key(&vectors, other), challenge).is_err(), "{name} {form} with {other}");
        }
    }
}

#[test]
fn sha1_counts_where_the_operator_allows_it() {
    let vectors = vectors();
    let challenge = text(&vectors["challenge"]).as_bytes();
    let all = vectors["signatures"].as_array().expect("signatures").iter();
    let weak: Vec<&Value> = all.filter(|made| text(&made["form"]).starts_with("sha1")).collect();
    assert_eq!(weak.len(), 4);
    for made in weak {
        let key = key(&vectors, text(&made["key"]));
        assert_eq!(verdict(&key, challenge, text(&made["response"]), Sha1::Allowed), Ok(()), "{made}");
        assert_eq!(verdict(&key, b"other", text(&made["response"]), Sha1::Allowed), Err(Refused::Mismatch));
    }
}

#[test]
fn a_response_may_be_wrapped_and_lack_its_padding() {
    let vectors = vectors();
    let challenge = text(&vectors["challenge"]).as_bytes();
    for made in vectors["signatures"].as_array().expect("signatures") {
        if text(&made["form"]) != "wire " {
            continue;
        }
        let (key, response) = (key(&vectors, text(&made["key"])), text(&made["response"]));
        let wrapped = format!("{}\n{}\n", &response[..40], &response[40..]);
        assert_eq!(verdict(&key, challenge, &wrapped, Sha1::Refused), Ok(()));
        assert_eq!(verdict(&key, challenge, response.trim_end_matches('='), Sha1::Refused), Ok(()));
    }
    for text in ["", "%", "AAAA AAA!", &"A".repeat(RESPONSE_CHARS_MAX + 1)] {
        assert_eq!(Response::parse(text), Err(BadResponse), "{text:.20}");
    }
}

#[test]
fn a_key_that_is_not_taken_is_told_why() {
    let vectors = vectors();
    let refused = |text: &str| PublicKey::parse(text).expect_err("refused").to_string();
    for (name, reason) in [
        ("rsa1024", "is an RSA key of 1024 bits; it needs 2048 or more"),
        ("p521", "a curve that is not taken"),
        ("certificate", "a certificate; send the public key"),
        ("dsa", "which is broken"),
    ] {
        let told = refused(text(&vectors["refused_keys"][name]));
        assert!(told.contains(reason), "{name}: {told}");
    }
    let good = text(&vectors["keys"]["ed25519"]["public"]);
    let zeros = format!("ssh-ed25519 {}{}", "AAAAC3NzaC1lZDI1NTE5AAAAI", "A".repeat(43));
    for (text, reason) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "is a private key"),
        ("", "is not in OpenSSH's form"),
        ("ssh-ed25519", "is not in OpenSSH's form"),
        ("hello world", "is not in OpenSSH's form"),
        ("command=\"x\" ssh-ed25519 AAAA", "is not in OpenSSH's form"),
        (&format!("{good}\n{good}"), "is not in OpenSSH's form"),
        ("ssh-ed25519 AAAA!", "its data is not base64"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "its data ends early"),
        (&good.replacen("ssh-ed25519", "ssh-rsa", 1), "the kind inside it is not the one before it"),
        ("sk-ssh-ed25519@openssh.com AAAA", "security key's counter"),
        ("ssh-unheard-of AAAA", "is of the kind 'ssh-unheard-of'"),
        (&zeros, "is a point of small order"),
        (&"x".repeat(PUBLIC_KEY_CHARS_MAX + 1), "is longer than"),
    ] {
        let told = refused(text);
        assert!(told.contains(reason), "{text:.60}: {told}");
    }
}
