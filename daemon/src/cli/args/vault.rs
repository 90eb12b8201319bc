//! Flags of `keelhold vault …` and `keelhold adopt`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Begin to ship to a place, or go on with the vault that is there
    ///
    /// An empty place becomes a new vault. A passphrase is asked for, or taken from --passphrase-file or
    /// KEELHOLD_PASSPHRASE; without one only the recovery kit opens it (`keelhold vault kit`).
    Add(VaultAdd),
    /// Ship what the vaults have not got yet
    Ship {
        /// One vault; without it all of them
        name: Option<String>,
        /// Follow the jobs and print their results
        #[arg(long)]
        wait: bool,
    },
    /// How far each vault is behind, and whether its kit is there
    Status,
    /// Prove that the vault can be restored from, by reading a sample of it or all
    Verify {
        name: String,
        /// Read and prove every object
        #[arg(long)]
        whole: bool,
    },
    /// Bring everything a vault holds into another one, under the other's key
    ///
    /// Read from the one, sealed anew, shipped to the other; the pool need not have it. Interrupted, the
    /// same command goes on.
    Copy { name: String, to: String },
    /// Copy a vault into another one, prove all of that one, then let everything go in the first
    ///
    /// Nothing is shipped to the first any more; `vault prune` empties it when its margin and its locks
    /// are over.
    Move { name: String, to: String },
    /// Delete what no manifest of the last seven days needs, with a credential that may delete
    ///
    /// The credential is used once and kept nowhere; shipping needs no right to delete. More than a fifth
    /// of the vault goes only with --yes. Each deletion stands in `keelhold audit list`.
    Prune {
        name: String,
        /// Not needed for a vault in a directory
        #[arg(long, value_name = "FILE")]
        credential: Option<PathBuf>,
        /// Say what would go, and why
        #[arg(long)]
        dry_run: bool,
        /// At the vault's second place
        #[arg(long)]
        second: bool,
    },
    /// The recovery points in a vault
    List { name: String },
    /// Print the recovery kit: what opens the vault when the appliance is gone
    ///
    /// With --shares and --need a new secret is divided: any K of N files open the vault, fewer tell
    /// nothing. A kit that was replaced opens no manifest written since; after a leak make a new vault.
    Kit(VaultKit),
    /// Set a new passphrase
    ///
    /// Older manifests still open with the former one, and the master key is the same: after a leak make
    /// a new vault.
    Passphrase {
        name: String,
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Limit shipping: HOURS=RATE, as `mon..fri 08:00-18:00=2 MiB/s`; none given: no limit
    Bandwidth {
        name: String,
        #[arg(value_name = "HOURS=RATE")]
        rules: Vec<String>,
    },
    /// Keep a second place of the vault in step, in another region; without --url there is none any more
    ///
    /// The same objects under the same names: where the first place is lost, the vault is opened at the
    /// second with the same kit. `vault status` says how far it is behind.
    Geo {
        name: String,
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[arg(long, value_name = "URL")]
        endpoint: Option<String>,
        #[arg(long, value_name = "FILE")]
        credential: Option<PathBuf>,
    },
    /// Declare that the store keeps copies in several zones (you have looked), or with --none that not
    Zone {
        name: String,
        #[arg(long)]
        none: bool,
    },
    /// Ship to a vault no more; what is in it stays
    Remove { name: String },
}

#[derive(Debug, Args)]
pub struct VaultAdd {
    pub name: String,
    /// file:///DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Where the store answers, if not at its provider's usual place
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// What opens the store; the file must belong to its owner alone
    #[arg(long, value_name = "FILE")]
    pub credential: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// How long objects are locked: `none`, `expiry`, or a lease as `30d`, renewed while they are needed
    ///
    /// Without it: 30d, if the store proves that it refuses to delete what is locked.
    #[arg(long, value_name = "LEASE")]
    pub lease: Option<String>,
    /// Shares of the recovery kit of a vault that is there already
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub kit: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VaultKit {
    pub name: String,
    /// A file, or with --shares a directory
    #[arg(long, value_name = "FILE|DIR")]
    pub to: PathBuf,
    #[arg(long, value_name = "N", requires = "need")]
    pub shares: Option<u8>,
    #[arg(long, value_name = "K", requires = "shares")]
    pub need: Option<u8>,
}

#[derive(Debug, Args)]
pub struct Adopt {
    /// file:///DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL")]
    pub vault: String,
    /// Shares of the recovery kit
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub kit: Vec<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub credential: Option<PathBuf>,
}
