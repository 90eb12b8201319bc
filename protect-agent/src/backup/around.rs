//! What is done around the reading of a source: scripts, the snapshot, and what came of both.

use keelhold_wire::limits::SHORTFALL_COUNT_MAX;
use keelhold_wire::{Consistency, Demands, FromAgent, Log, Message, Reached, StartBackup, Version};

use super::run::{BackupError, Context};
use crate::failure::chain;
use crate::outgoing::Outgoing;
use crate::script::{Leash, NotAllowed, Owed, Pair, Ran};
use crate::snapshot::{NoSnapshot, SourceSnapshot};

/// One backup's surroundings. Dropped early it removes the snapshot and runs what is owed.
pub(crate) struct Around {
    job: u64,
    source: String,
    demands: Demands,
    outgoing: Outgoing,
    scripts: Option<Pair>,
    owed: Option<Owed>,
    snapshot: Option<SourceSnapshot>,
    said: Consistency,
    frozen: bool,
    shortfalls: Vec<String>,
}

impl Around {
    /// Refuses scripts that are not allowed, before anything happens.
    pub(crate) fn new(
        start: &StartBackup,
        context: &Context,
        outgoing: Outgoing,
    ) -> Result<Self, NotAllowed> {
        let demands = (*start.demands).clone();
        let any = demands.pre.is_some() || demands.post.is_some();
        let scripts = any.then(|| context.scripts.allow(&demands)).transpose()?;
        Ok(Self {
            job: start.job,
            source: start.source.name.clone(),
            demands,
            outgoing,
            scripts,
            owed: None,
            snapshot: None,
            said: Consistency::None,
            frozen: false,
            shortfalls: Vec::new(),
        })
    }

    /// Runs pre. From here on post is owed.
    pub(crate) async fn begin(&mut self, context: &Context) -> Result<(), BackupError> {
        let Some(pair) = self.scripts.take() else {
            return Ok(());
        };
        let leash = Leash::default();
        let held = leash.held();
        let (scripts, source, job) = (context.scripts.clone(), self.source.clone(), self.job);
        let work = move || -> Result<(Owed, Option<Ran>), std::io::Error> {
            let mut owed = Owed::begin(&scripts, pair, &source, job)?;
            let ran = owed.pre(&held);
            Ok((owed, ran))
        };
        let worked = tokio::task::spawn_blocking(work).await;
        drop(leash);
        let (owed, ran) =
            worked.map_err(|_| BackupError::ReaderDied)?.map_err(BackupError::Noted)?;
        self.owed = Some(owed);
        let Some(ran) = ran else {
            return Ok(());
        };
        self.tell("pre", &ran).await;
        if !ran.is_well() {
            return Err(BackupError::Pre { ended: ran.ended.to_string() });
        }
        self.said = ran.reached.unwrap_or_default();
        Ok(())
    }

    /// Takes the view that will be read. With a snapshot the application may go on at once.
    pub(crate) async fn viewed(
        &mut self,
        view: Result<SourceSnapshot, NoSnapshot>,
    ) -> Result<(), BackupError> {
        match view {
            Ok(snapshot) => {
                (self.snapshot, self.frozen) = (Some(snapshot), true);
                self.pay().await
            }
            Err(why) => {
                let line = format!("no source snapshot, the live tree is read: {}", chain(&why));
                self.log(vec![line]).await;
                Ok(())
            }
        }
    }

    /// After the last byte was read.
    pub(crate) async fn end(&mut self) -> Result<Reached, BackupError> {
        if let Some(snapshot) = self.snapshot.take() {
            tokio::task::spawn_blocking(move || drop(snapshot))
                .await
                .map_err(|_| BackupError::ReaderDied)?;
        }
        self.pay().await?;
        let frozen = if self.frozen { Consistency::Crash } else { Consistency::None };
        let consistency = self.said.max(frozen);
        let wanted = self.demands.consistency_min;
        if consistency < wanted {
            let (reached, wanted) = (consistency.word(), wanted.word());
            let text = format!("consistency {reached} was reached, {wanted} is demanded");
            self.shortfalls.push(text);
        }
        self.shortfalls.truncate(SHORTFALL_COUNT_MAX);
        Ok(Reached { consistency, shortfalls: std::mem::take(&mut self.shortfalls) })
    }

    /// How the backup went, for a post script that has not run yet.
    pub(crate) fn failed(&mut self, error: &BackupError) {
        let result = match error {
            BackupError::Cancelled => "cancelled",
            BackupError::ConnectionLost => "lost",
            _ => "failed",
        };
        self.owed.iter_mut().for_each(|owed| owed.result(result));
    }

    async fn pay(&mut self) -> Result<(), BackupError> {
        let Some(mut owed) = self.owed.take() else {
            return Ok(());
        };
        owed.result("ok");
        let paid = tokio::task::spawn_blocking(move || owed.pay()).await;
        if let Some(ran) = paid.map_err(|_| BackupError::ReaderDied)? {
            self.tell("post", &ran).await;
            if !ran.is_well() {
                self.shortfalls.push(format!("the post script {}", ran.ended));
            }
        }
        Ok(())
    }

    async fn tell(&self, phase: &str, ran: &Ran) {
        let mut lines: Vec<String> =
            ran.lines.iter().map(|line| format!("{phase}: {line}")).collect();
        lines.push(format!("the {phase} script {}", ran.ended));
        self.log(lines).await;
    }

    async fn log(&self, lines: Vec<String>) {
        let (job, source) = (self.job, &self.source);
        lines.iter().for_each(|line| tracing::info!(job, source, "{line}"));
        if self.outgoing.speaks(Version::V2) {
            // A connection that is gone is noticed by whoever reads from it.
            let _ = self.outgoing.send(FromAgent::Log(Log { job, lines }).to_bytes()).await;
        }
    }
}
