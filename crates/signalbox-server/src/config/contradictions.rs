//! Settings that are fine alone and not together.

use super::{Config, Surface};

/// Bytes of an answer that has to fit beside what was sent, and of what goes around it.
const ANSWER_ROOM: u64 = 2 << 20;

impl Config {
    /// What contradicts itself, each with the cure.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let has_keys = self.services.platform_key.is_some() || self.services.opscore_api_key.is_some();
        if !self.server.listen.ip().is_loopback() && !has_keys && !self.server.insecure {
            found.push(format!(
                "{} is reachable from other machines and no key is configured; set SIGNALBOX_PLATFORM_KEY or \
                 OPSCORE_API_KEY, listen on 127.0.0.1, or accept the risk with --insecure",
                self.server.listen
            ));
        }
        if self.services.opscore_webhook_url.is_some()
            && self.services.opscore_webhook_secret.is_none()
            && self.serves(Surface::Agentkit)
        {
            found.push(
                "opscore_webhook_url is set without opscore_webhook_secret; announcements must be signed, set both"
                    .to_owned(),
            );
        }
        match (&self.server.tls_cert, &self.server.tls_key) {
            (Some(_), None) => found.push(
                "tls_cert is set without tls_key; give the file of the certificate's private key too"
                    .to_owned(),
            ),
            (None, Some(_)) => {
                found
                    .push("tls_key is set without tls_cert; give the file of its certificate too".to_owned());
            }
            _ => {}
        }
        if self.llm.llm_url.is_none() && (self.llm.llm_model.is_some() || self.llm.llm_api_key.is_some()) {
            found.push(
                "llm_model or llm_api_key is set without llm_url; give the address of the service too"
                    .to_owned(),
            );
        }
        if self.server.insecure && self.server.require_keys {
            found.push(
                "insecure and require_keys are both set; leave out the one that is not meant".to_owned(),
            );
        }
        if self.http.inbound_bytes_max < self.http.body_bytes_max as u64 {
            found.push(format!(
                "inbound_bytes_max ({}) has no room for one body of body_bytes_max ({}); raise it, or lower that",
                self.http.inbound_bytes_max, self.http.body_bytes_max
            ));
        }
        let sent_max = self.http.payload_bytes_max.max(self.http.body_bytes_max as u64) + ANSWER_ROOM;
        if self.http.outbound_bytes_max < sent_max {
            found.push(format!(
                "outbound_bytes_max ({}) has no room for one task of payload_bytes_max ({}) or one message of \
                 body_bytes_max ({}) with its answer; make it {sent_max} or more, or lower those",
                self.http.outbound_bytes_max, self.http.payload_bytes_max, self.http.body_bytes_max
            ));
        }
        if self.server.surfaces.is_empty() {
            found.push("no surface is to be served; name at least one in --surfaces".to_owned());
        }
        found
    }
}
