//! How the binary is linked: 50,000 addresses that the loader fills in at each start take 1 MB of memory as a list, and hardly
//! any as a bitmap. The C library reads bitmaps (`DT_RELR`) from version 2.36 on; `SIGNALBOX_BUILD_PORTABLE=1` makes a binary for older
//! ones too.

use std::env;
use std::process::Command;

const PORTABLE: &str = "SIGNALBOX_BUILD_PORTABLE";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={PORTABLE}");
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|of| of == "gnu");
    let is_built_here = env::var_os("HOST") == env::var_os("TARGET");
    if is_gnu
        && is_built_here
        && env::var_os(PORTABLE).is_none()
        && glibc().is_some_and(|version| version >= (2, 36))
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the C library of this machine.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
