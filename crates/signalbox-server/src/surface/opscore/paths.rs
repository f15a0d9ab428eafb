//! Where this surface is.

/// What every path of this surface begins with.
pub(super) const PATH: &str = "/v1/opscore";
