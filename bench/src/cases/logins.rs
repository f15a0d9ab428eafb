//! Logins by SSH key: a challenge, and its answer verified, by the type of the key. Challenges are asked for in one run
//! of load and answered in a second; they are signed between the two, where no clock runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::load::{self, Ids, Outcome, Plan, Template};
use crate::report::{Figure, Measured, P50_MS, P99_MS, PER_S, SERVER_US, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::sign_in::{self, Credential};
use crate::ssh::KeyKind;
use crate::{agents, fleet, printer};

const FLEET: u64 = 1_000;
/// The types, and how many logins a round has.
const KINDS: [(KeyKind, u64); 5] = [
    (KeyKind::Ed25519, 20_000),
    (KeyKind::EcdsaP256, 20_000),
    (KeyKind::EcdsaP384, 5_000),
    (KeyKind::Rsa2048, 10_000),
    (KeyKind::Rsa4096, 2_000),
];
const QUICK_PART: u64 = 20;
const CHALLENGES_PER_S: &str = "challenges per second";
const VERIFIED_PER_S: &str = "verified per second";
const SIGNING_US: &str = "signing µs each, not counted";

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("logins")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let bare = Bare::start(Kind::Json, folder.path()).await?;
    let ids = fleet::register(context, signalbox.addr, context.fleet(FLEET)).await?;
    let mut measured = Measured::default();
    for (kind, count) in KINDS {
        let count = if context.quick { count / QUICK_PART } else { count };
        match Credential::register(signalbox.addr, kind, folder.path()).await {
            Ok(credential) => {
                let logins = Logins { credential: Arc::new(credential), kind, ids: ids.clone(), count };
                let rounds = logins.compare(context, &signalbox, &bare).await?;
                let name = format!("logins, {}, over the bare handler's", kind.name());
                measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), PER_S, None));
                measured.figures.extend(rounds.into_iter().flatten());
            }
            Err(error) if is_left_out(kind) => {
                measured.note(&format!("{} is left out: {error:#}", kind.name()));
            }
            Err(error) => return Err(error),
        }
    }
    describe(folder.path(), &ids, &mut measured);
    signalbox.stop().await?;
    Ok(measured)
}

/// Where `ssh-keygen` is missing, there are no keys of RSA.
fn is_left_out(kind: KeyKind) -> bool {
    let makes_keys = std::process::Command::new("ssh-keygen").arg("-?").output().is_ok();
    matches!(kind, KeyKind::Rsa2048 | KeyKind::Rsa4096) && !makes_keys
}

struct Logins {
    credential: Arc<Credential>,
    kind: KeyKind,
    ids: Ids,
    count: u64,
}

/// The two runs of a round, with the server's processor time.
struct Halves {
    challenges: Outcome,
    verified: Outcome,
    server_seconds: f64,
}

impl Logins {
    async fn compare(
        &self,
        context: &Context,
        signalbox: &Signalbox,
        bare: &Bare,
    ) -> anyhow::Result<Vec<Vec<Figure>>> {
        bare.process.pause();
        let mut rounds = Vec::new();
        let mut first = 0;
        for round in 1..=context.rounds {
            let challenge = Arc::new(sign_in::challenge(&self.ids)?);
            let server = signalbox.process.cpu_seconds();
            let challenges = self.half(context, signalbox.addr, &challenge, first).await?;
            let mut server_seconds = signalbox.process.cpu_seconds() - server;
            let given = challenges.picked.clone();
            let (bodies, signing) =
                self.credential.answer(&self.ids, first, given, context.client_threads).await?;
            first = challenges.next_ticket;
            let verify = Arc::new(sign_in::verify(&bodies)?);
            let server = signalbox.process.cpu_seconds();
            let verified = self.half(context, signalbox.addr, &verify, 0).await?;
            server_seconds += signalbox.process.cpu_seconds() - server;
            let ours = Halves { challenges, verified, server_seconds };
            let theirs = self.bare(context, signalbox, bare, (&challenge, &verify)).await?;
            let figures = vec![
                self.figure("Signalbox", round, &ours, signing),
                self.figure("bare JSON handler", round, &theirs, signing),
            ];
            figures.iter().for_each(|figure| printer::progress(&figure_line(figure)));
            rounds.push(figures);
        }
        bare.process.resume();
        Ok(rounds)
    }

    /// The same bytes to a handler that reads them and checks nothing.
    async fn bare(
        &self,
        context: &Context,
        signalbox: &Signalbox,
        bare: &Bare,
        (challenge, verify): (&Arc<Template>, &Arc<Template>),
    ) -> anyhow::Result<Halves> {
        signalbox.process.pause();
        bare.process.resume();
        let server = bare.process.cpu_seconds();
        let challenges = self.half(context, bare.addr, challenge, 0).await?;
        let verified = self.half(context, bare.addr, verify, 0).await?;
        let server_seconds = bare.process.cpu_seconds() - server;
        bare.process.pause();
        signalbox.process.resume();
        Ok(Halves { challenges, verified, server_seconds })
    }

    async fn half(
        &self,
        context: &Context,
        addr: SocketAddr,
        template: &Arc<Template>,
        first_ticket: u64,
    ) -> anyhow::Result<Outcome> {
        let plan = agents::counted_of(context, addr, template, self.count);
        let plan = Plan { first_ticket, pick: Some(sign_in::given), ..plan };
        // What is not picked was not given, and would be signed for nobody.
        let outcome = agents::complete(self.kind.name(), self.count, load::run(&plan).await?)?;
        let picked = outcome.picked.len() as u64;
        anyhow::ensure!(
            picked == self.count,
            "{picked} of {} answers hold a challenge or a token",
            self.count
        );
        Ok(outcome)
    }

    fn figure(&self, side: &str, round: u32, halves: &Halves, signing: Duration) -> Figure {
        let Halves { challenges, verified, server_seconds } = halves;
        let count = self.count as f64;
        let time = challenges.time + verified.time;
        let metrics = [
            (PER_S, count / time.as_secs_f64().max(1e-9)),
            (CHALLENGES_PER_S, challenges.per_s()),
            (VERIFIED_PER_S, verified.per_s()),
            (P50_MS, verified.latency_ms(0.50)),
            (P99_MS, verified.latency_ms(0.99)),
            (SERVER_US, server_seconds * 1e6 / count),
            (SIGNING_US, signing.as_secs_f64() * 1e6),
        ];
        Figure::new(self.kind.name(), side, round, &metrics)
    }
}

fn describe(folder: &Path, ids: &Ids, measured: &mut Measured) {
    measured.facts.extend(sqlite_facts(folder));
    measured.fact("bare JSON handler", "the same bytes, read into a struct; nothing is checked or kept");
    measured.fact(
        "logins",
        format!("by one key of the tenant for {} agents, signatures as SSH's protocol has them", ids.len()),
    );
    measured.note(
        "A login is a challenge and its verification: the rate counts the time of both, one after the other, and not \
         that of signing. p50 and p99 are those of the verification.",
    );
    measured.note("The limits of tries by agent and by address are set out of reach.");
}
