//! Operations one after the other: what registering, announcing, reporting, delivering and placing come to,
//! and the recorded histories that every later build must still understand.

#![cfg(test)]

mod announce;
mod deliveries;
mod histories;
mod placing;
mod register;
mod reports;
mod schedules;
mod sessions;
mod stage;
#[path = "../sim/store.rs"]
#[expect(dead_code, reason = "the simulation looks at more of the store than single operations need")]
mod store;
