//! Operations one after the other: what registering, announcing, reporting, delivering and placing come to,
//! and the recorded histories that every later build must still understand.

#![cfg(test)]

mod announce;
mod answers;
mod approvals;
mod attempts;
mod channels;
mod children;
mod commands;
mod concurrency;
mod connections;
mod costs;
mod deliveries;
mod figures;
mod folding;
mod full_paths;
mod graphs;
mod histories;
mod hooks;
mod lists;
mod long;
mod matching;
mod payloads;
mod play;
mod register;
mod reports;
mod scenes;
mod schedules;
mod sessions;
mod ssh_keys;
mod stage;
#[path = "../sim/store.rs"]
#[expect(dead_code, reason = "the simulation looks at more of the store than single operations need")]
mod store;
mod tenants;
mod tools;
mod undoing;
mod waits;
