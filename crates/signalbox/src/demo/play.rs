//! The demo from beginning to end: set the stage, audit, check, and say what came of it.

use std::path::Path;

use anyhow::{Context as _, bail};
use signalbox_client::{Client, SessionStatus, SessionView};

use super::actors::{Actor, Cast};
use super::arguments::Args;
use super::audit::Audit;
use super::cast::Stage;
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
    let outcome = perform(&stage, Style::detect(args.plain)).await;
    if !stage.keep {
        // What is left of it is in a temporary folder; failing to remove it spoils nothing.
        drop(std::fs::remove_dir_all(stage.data()));
    }
    outcome.with_context(|| format!("the demo broke off; its logs are in {}", stage.logs().display()))
}

async fn perform(stage: &Stage, style: Style) -> anyhow::Result<bool> {
    let mut screen = Screen::new(style);
    screen.line(&format!("\n  {}  {}\n", style.bold("signalbox demo"), opening(stage)));
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
    for line in table(story, screen.style) {
        screen.line(&format!("  {line}"));
    }
    let figures = named(&written).map(|(name, value)| format!("{name} {}", grouped(value)));
    screen.line(&format!("\n  {}   {}", screen.style.bold("report"), written.path));
    for figures in figures.chunks(3) {
        screen.line(&format!("           {}", figures.join(screen.style.pick(" · ", ", "))));
    }
    screen.line(&format!("  {}    {}", screen.style.bold("parts"), shared(parts, story)));
    screen.line(&format!("  {}     {}", screen.style.bold("logs"), stage.logs().display()));
    if stage.keep {
        screen.line(&format!("  {}     {}", screen.style.bold("data"), stage.data().display()));
    }
    let total = seconds(screen.elapsed());
    let time = screen.style.bold("time");
    screen.line(&format!("  {time}     {total}; every process of the demo ends with it\n"));
    tell(screen, &verdict, story);
    Ok(verdict.holds())
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
