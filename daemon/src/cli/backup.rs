//! `keelhold backup` and `keelhold job …`

use super::Context;
use super::args::{Backup, Job, Sync};
use super::source::source_name;
use super::wait::{finish, start};
use crate::api::address::Address;
use crate::api::types;
use crate::failure::{Exit, Failure};

pub async fn backup(context: &Context, args: Backup) -> Result<Exit, Failure> {
    let source = source_name(&args.source)?;
    let mut client = context.client().await?;
    let Backup { queue, keep_until, .. } = args;
    let request = types::BackupRequest { queue, keep_until, ..Default::default() };
    let started = start(&mut client, &source, &request).await?;
    finish(context, client, started, args.wait).await
}

pub async fn sync(context: &Context, args: Sync) -> Result<Exit, Failure> {
    let source = source_name(&args.source)?;
    let mut client = context.client().await?;
    let request = types::BackupRequest { sync: true, ..Default::default() };
    let started = start(&mut client, &source, &request).await?;
    finish(context, client, started, args.wait).await
}

fn address(job: u64) -> Address {
    Address::new("/jobs").segment(job.to_string().as_bytes())
}

pub async fn job(context: &Context, verb: Job) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    match verb {
        Job::List => {
            let jobs: Vec<types::Job> = client.get(&Address::new("/jobs")).await?;
            let head = ["JOB", "KIND", "SOURCE", "STATE", "RESULT", "CREATED", "POINT"];
            context.printer.table(&jobs, &head, row)?;
        }
        Job::Show { job } => {
            let job: types::Job = client.get(&address(job)).await?;
            context.printer.show(&job, describe)?;
        }
        Job::Cancel { job } => {
            let job: types::Job = client.post(&address(job).segment(b"cancel"), &()).await?;
            context.printer.show(&job, |job| vec![format!("job {} is being cancelled", job.id)])?;
        }
        Job::Log { job } => {
            let log: Vec<types::LogLine> = client.get(&address(job).segment(b"log")).await?;
            context.printer.show(&log, |log| {
                log.iter().map(|line| format!("{} {}", line.at, line.text)).collect()
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn word<T: serde::Serialize>(value: T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn row(job: &types::Job) -> Vec<String> {
    vec![
        job.id.to_string(),
        word(job.kind),
        job.source.clone(),
        word(job.state),
        job.result.map_or("", types::Outcome::word).to_owned(),
        job.created_at.clone(),
        job.point.clone().unwrap_or_default(),
    ]
}

fn describe(job: &types::Job) -> Vec<String> {
    let mut lines = vec![
        format!("job {}: {} of {}", job.id, word(job.kind), job.source),
        format!("state: {}", word(job.state)),
        format!("created: {}", job.created_at),
    ];
    lines.extend(job.started_at.iter().map(|at| format!("started: {at}")));
    if let Some(pace) = &job.pace {
        lines.push(format!("stage: {}{}", pace.stage, super::wait::pace_words(pace)));
    }
    lines.extend(job.finished_at.iter().map(|at| format!("finished: {at}")));
    lines.extend(job.result.iter().map(|result| format!("result: {}", result.word())));
    lines.extend(job.point.iter().map(|point| format!("point: {point}")));
    if let Some(error) = &job.error {
        lines.push(format!("error: {}: {}", error.code, error.message));
        lines.push(format!("  {}", error.hint));
    }
    lines
}
