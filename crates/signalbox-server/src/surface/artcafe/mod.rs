//! The ArtCafe surface: its tenants, which the other surfaces share, its agents with their commands, where they
//! connect, channels, what tenants take, and how agents sign in.

mod agents;
mod channels;
mod live;
mod pages;
mod sign_in;
mod ssh_keys;
mod tenants;
mod usage;

use self::agents::commands;
use self::channels::{messages, presence};
use self::live::{connect, inbox};
use self::sign_in::{challenge, jwks, verify};
use self::tenants::{create, get, list, remove};
use crate::config;
use crate::surface::api_router::{ApiRouter, routes};
use crate::surface::description::Description;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: Some(config::Surface::Artcafe),
    prefixes: &["/api/v1", "/.well-known"],
    is_keyless: false,
    routes: router,
    fast_routes: |_| Vec::new(),
};

/// Every route of this surface.
fn router() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(get::get, tenants::change::change, remove::remove))
        .routes(routes!(usage::usage))
        .routes(routes!(agents::create::create, agents::read::list))
        .routes(routes!(agents::read::get, agents::remove::remove))
        .routes(routes!(agents::status::set))
        .routes(routes!(commands::create::create, commands::read::list))
        .routes(routes!(commands::read::get))
        .routes(routes!(commands::cancel::cancel))
        .routes(routes!(connect::connect))
        .routes(routes!(inbox::poll, inbox::post))
        .routes(routes!(channels::create::create, channels::read::list))
        .routes(routes!(channels::read::get, channels::change::change, channels::change::delete))
        .routes(routes!(messages::publish, messages::list))
        .routes(routes!(presence::presence))
        .routes(routes!(challenge::challenge))
        .routes(routes!(verify::verify))
        .routes(routes!(jwks::jwks))
        .routes(routes!(ssh_keys::create::create, ssh_keys::list::list))
        .routes(routes!(ssh_keys::show::show, ssh_keys::delete::delete))
        .routes(routes!(ssh_keys::revoke::revoke))
}
