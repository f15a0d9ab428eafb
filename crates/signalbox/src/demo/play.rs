//! The demo from beginning to end: set the stage, audit, check, and say what came of it.

use std::path::Path;

use anyhow::{Context as _, bail};
use signalbox_client::{Client, SessionStatus, SessionView};

use super::actors::{Actor, Cast};
use super::arguments::Args;
use super::audit::Audit;
use super::cast::Stage;
use super::columns::Columns;
use super::plan::Outcome;
use super::report::{grouped, named};
use super::roles::{PACE, PLAYERS, Role};
use super::screen::Screen;
use super::timeline::{seconds, table};
use super::verify::{Verdict, counted, verify};
use super::walk::{Found, Limits, walk};
use crate::story::Story;
use crate::style::{Mark, Style};

/// Differences that are named one by one.
const DIFFERENCES_MAX: usize = 20;

/// Plays the demo and answers whether every file was counted exactly once.
pub(super) async fn play(args: &Args) -> anyhow::Result<bool> {
    let folder = std::fs::canonicalize(&args.folder);
    let folder = folder.with_context(|| format!("the folder {} cannot be opened", args.folder.display()))?;
    if found(&folder, &Limits { files_max: 1, ..Limits::default() })?.files.is_empty() {
        bail!("there are no text files in {}; name another folder", folder.display());
    }
    let stage = Stage::set(folder, args)?;
    let screen = Screen::new(Style::detect(args.plain), Columns::detect());
    let outcome = perform(&stage, screen).await;
    if !matches!(outcome, Ok(true)) {
        let left = stage.leave();
        return outcome
            .with_context(|| format!("the demo broke off; its logs are in {}/logs", left.display()));
    }
    outcome
}

async fn perform(stage: &Stage, mut screen: Screen) -> anyhow::Result<bool> {
    screen.line(&format!("\n  {}  {}\n", screen.style.bold("signalbox demo"), opening(stage)));
    let mut cast = enter(stage, &screen).await?;
    let client = Client::new(&cast.address, Some(&stage.key))?;

    // As close to the planner's own walk as it can be: what comes or goes in between will differ.
    let found = found(&stage.folder, &Limits::default())?;
    let (session, story) = Audit::new(stage, &client, &mut cast, &mut screen).run().await?;
    conclude(stage, &screen, &found, &session, &story)
}

fn found(folder: &Path, limits: &Limits) -> anyhow::Result<Found> {
    walk(folder, limits).with_context(|| format!("the folder {} cannot be read", folder.display()))
}

fn opening(stage: &Stage) -> String {
    let pace = if stage.fast {
        "reading at full speed".to_owned()
    } else {
        format!("paced so that you can watch: {} s a part (--fast turns that off)", PACE.as_secs_f64())
    };
    format!("one server, four agents, one crash\n  auditing {}\n  {pace}", stage.folder.display())
}

/// Starts the server, then the agents together.
async fn enter(stage: &Stage, screen: &Screen) -> anyhow::Result<Cast> {
    let (server, address) = stage.server().await?;
    screen.step(Mark::Good, &format!("{:<8} pid {:<8} {address}", server.name, server.pid()));
    let started = PLAYERS.map(|(name, role)| (name, role, stage.agent(name, role, &address)));
    let mut agents = Vec::new();
    for (name, role, started) in started {
        let (process, arrival) = started?;
        let ready = arrival.ready().await?;
        let pid = process.pid();
        screen.step(Mark::Good, &format!("{name:<8} pid {pid:<8} {}", ready.endpoint));
        agents.push(Actor { name, role, process, agent_id: ready.agent_id });
    }
    Ok(Cast { server, agents, address })
}

/// What a session that must have completed came to.
fn result_of(session: &SessionView) -> anyhow::Result<Outcome> {
    if session.status != SessionStatus::Completed {
        let why = session.error.as_deref().unwrap_or("it does not say why");
        bail!("the session {} is {}: {why}", session.session_id, session.status.as_str());
    }
    serde_json::from_value(session.result.clone().unwrap_or_default())
        .context("the session's result is not what its workflow makes")
}

/// Says what came of it, and whether it is right.
fn conclude(
    stage: &Stage,
    screen: &Screen,
    found: &Found,
    session: &SessionView,
    story: &Story,
) -> anyhow::Result<bool> {
    let Outcome { report: written, parts } = result_of(session)?;
    let verdict = verify(&found.files, &counted(session)?, &written);
    screen.line("");
    for line in table(story, screen.style, screen.columns) {
        screen.line(&format!("  {line}"));
    }
    screen.line("");
    let figures = named(&written).map(|(name, value)| format!("{name} {}", grouped(value)));
    let figures: Vec<_> = figures.chunks(3).map(|some| some.join(screen.style.pick(" · ", ", "))).collect();
    fact(screen, "found", &figures[0]);
    figures[1..].iter().for_each(|figures| fact(screen, "", figures));
    fact(screen, "parts", &shared(parts, story));
    if stage.keep || !verdict.holds() {
        fact(screen, "report", &written.path);
        fact(screen, "logs", &stage.logs().display().to_string());
        fact(screen, "data", &stage.data().display().to_string());
    } else {
        fact(screen, "left", "nothing: its processes and files are gone");
    }
    fact(screen, "time", &seconds(screen.elapsed()));
    screen.line("");
    tell(screen, &verdict, story);
    if verdict.holds() {
        go_on(screen);
    }
    Ok(verdict.holds())
}

/// Something that came of it, under a name.
fn fact(screen: &Screen, name: &str, text: &str) {
    screen.broken(&format!("  {}  {text}", screen.style.bold(&format!("{name:<6}"))), FACT);
}

/// Columns before what [`fact`] tells.
const FACT: usize = 10;

/// What to do next: commands to copy, and what each is for.
const NEXT: [(&str, &str); 5] = [
    ("signalbox serve", "a server of your own; leave it running"),
    ("signalbox agent run --help", "make any program an agent"),
    ("signalbox agents --help", "who is there, and what they do"),
    ("signalbox workflows --help", "keep work like this, and start it"),
    ("signalbox demo --keep", "this again, keeping report and logs"),
];

fn go_on(screen: &Screen) {
    screen.line(&format!("  {}", screen.style.bold("next")));
    for (command, what_for) in NEXT {
        if screen.columns.are_few() {
            screen.line(&format!("    {command}"));
            screen.line(&format!("      {}", screen.style.dim(what_for)));
        } else {
            screen.line(&format!("    {command:<28}  {}", screen.style.dim(&format!("# {what_for}"))));
        }
    }
    screen.line("  The server's API is at http://127.0.0.1:8000/docs; docs/guide/getting-started.md goes on from here.\n");
}

/// Who read how many of the parts.
fn shared(parts: usize, story: &Story) -> String {
    let readers = PLAYERS.iter().filter(|(_, role)| *role == Role::Reader);
    let shares: Vec<_> = readers.map(|(name, _)| format!("{name} read {}", story.done_by(name))).collect();
    format!("{parts}: {}", shares.join(", "))
}

fn tell(screen: &Screen, verdict: &Verdict, story: &Story) {
    let style = screen.style;
    if !verdict.holds() {
        let differences = verdict.differences();
        let head = format!("{} of {} files differ:", differences.len(), verdict.files);
        screen.line(&format!("  {} {}", style.mark(Mark::Bad), style.red(&head)));
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            screen.line(&format!("      {difference}"));
        }
        screen.line("      (a file that came or went while the demo ran differs too)\n");
        return;
    }
    let claim = match verdict.files {
        1 => "the one file was counted once".to_owned(),
        files => format!("every one of the {} files was counted once", grouped(files as u64)),
    };
    screen.line(&format!("  {} {}", style.mark(Mark::Good), style.bold(&style.green(&claim))));
    screen.line("    checked against a walk of the folder that this process made by itself");
    for step in story.steps().iter().filter(|step| step.tries.len() > 1) {
        let mut by: Vec<_> = step.tries.iter().map(|one| one.agent.as_str()).collect();
        by.dedup();
        let (task, tries) = (&step.task, step.tries.len());
        screen.line(&format!(
            "    {task} took {tries} tries (by {}), and its result counts once",
            by.join(", ")
        ));
    }
    screen.line("");
}
