//! The ArtCafe surface.

mod agents;
mod commands;
