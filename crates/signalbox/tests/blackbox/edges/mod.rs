//! The server's edges: TLS, limits of tenants, keys that end, figures of use, and what one tenant gets of another.

mod flood;
mod isolation;
mod keys;
mod limits;
mod tls;
mod usage;

use serde_json::Value;

use crate::support::{Api, Database, PLATFORM_KEY, Server, Setup};

fn with_platform_key(database: &Database) -> Setup {
    Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY)
}

/// A tenant made with this body, by its id and its first key.
#[track_caller]
fn make_tenant(server: &Server, body: &Value) -> (String, Api) {
    let answer = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", body).is(201);
    let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
    (text("tenant_id"), server.with_key(&text("api_key")))
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
