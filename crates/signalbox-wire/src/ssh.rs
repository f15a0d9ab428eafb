//! SSH keys as agents sign in with them: public keys in the form of OpenSSH, and every form in which a signature comes.
//!
//! Pure: no clock and no randomness. What parses here comes from strangers, so every length has a bound, and whatever
//! does not fit is an error with its reason.

mod frames;
mod public_key;
mod response;
mod rsa_key;
mod stand_in;
mod verify;

pub use self::public_key::{Algorithm, BadPublicKey, PUBLIC_KEY_CHARS_MAX, PublicKey};
pub use self::response::{BadResponse, NAMESPACE, RESPONSE_CHARS_MAX, Response};
pub use self::verify::{Refused, Sha1};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
