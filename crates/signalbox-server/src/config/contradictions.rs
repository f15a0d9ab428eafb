//! Settings that are fine alone and not together.

use super::{Config, Surface};

impl Config {
    /// What contradicts itself, each with the cure.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let has_keys = self.platform_key.is_some() || self.opscore_api_key.is_some();
        if !self.listen.ip().is_loopback() && !has_keys && !self.insecure {
            found.push(format!(
                "{} is reachable from other machines and no key is configured; set SIGNALBOX_PLATFORM_KEY or \
                 OPSCORE_API_KEY, listen on 127.0.0.1, or accept the risk with --insecure",
                self.listen
            ));
        }
        if self.opscore_webhook_url.is_some()
            && self.opscore_webhook_secret.is_none()
            && self.serves(Surface::Agentkit)
        {
            found.push(
                "opscore_webhook_url is set without opscore_webhook_secret; announcements must be signed, set both"
                    .to_owned(),
            );
        }
        if self.insecure && self.require_keys {
            found.push(
                "insecure and require_keys are both set; leave out the one that is not meant".to_owned(),
            );
        }
        if self.surfaces.is_empty() {
            found.push("no surface is to be served; name at least one in --surfaces".to_owned());
        }
        found
    }
}
