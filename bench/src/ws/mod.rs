//! A lean WebSocket client: what both sides of a comparison are driven by, written out here because it must not be what
//! is measured. It checks little, masks with zeros, reads many frames in one call, and keeps a buffer for each thread and
//! not for each connection.

mod frame;
mod socket;
mod upgrade;

pub(crate) use frame::{CLOSE, PING, PONG, TEXT, parse, put, put_unmasked};
pub(crate) use socket::{Ended, Reader, Scratch, Socket, Writer, scratch};
pub(crate) use upgrade::{Refused, Target, open};
