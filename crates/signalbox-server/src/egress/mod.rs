//! The one way out: every request to an endpoint, a tool or a webhook goes through [`Egress`].
//!
//! Where it may go is decided by [`policy`], for an address written in the URL before anything is sent and
//! for a name after it was resolved, on every connection. Redirects are never followed.

mod client;
mod names;
pub(crate) mod policy;

pub(crate) use client::{Egress, EgressError, MARK, OnBehalfOf, Room};
pub(crate) use names::Names;

/// How requests introduce themselves.
pub(crate) const USER_AGENT: &str = concat!("signalbox/", env!("CARGO_PKG_VERSION"));
