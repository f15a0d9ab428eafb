//! Bodies of what belongs to the process and to no surface: health, readiness, API keys.

mod health;
mod key;

pub use health::{AliveWord, HealthView, ReadyView, ReadyWord};
pub use key::{KeyBody, KeyScope, KeyView, RotateKeyBody};
