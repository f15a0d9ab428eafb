//! Where agents connect: the WebSocket, and the inbox for places where WebSockets are blocked.

pub(super) mod connect;
pub(super) mod inbox;
