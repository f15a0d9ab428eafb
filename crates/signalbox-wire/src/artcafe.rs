//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

mod sign_in;
mod ssh_key;
mod tenant;

pub use sign_in::{Challenge, ChallengeBody, NotVerified, Verified, VerifyBody};
pub use ssh_key::{RevokeBody, SshKeyBody, SshKeyList, SshKeyStatus, SshKeyType, SshKeyView};
pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
