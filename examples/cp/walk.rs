//! Directories: walked and created through the ring.

use std::fs::{File, FileTimes};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use runtime::fs;

use crate::batch::Batch;

/// A directory to be copied, and where to.
#[derive(Clone)]
pub(crate) struct Tree {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

/// What is in it.
#[derive(Default)]
pub(crate) struct Walked {
    pub(crate) created: Option<Tree>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) errors: Vec<String>,
}

impl Tree {
    /// Creates the directory, and tells what is to be copied into it.
    pub(crate) async fn walk(self) -> Walked {
        let mut walked = Walked::default();
        if let Err(error) = self.list(&mut walked).await {
            let name = self.from.display();
            walked.errors.push(format!("cannot copy {name}: {error}"));
        }
        walked
    }

    async fn list(&self, walked: &mut Walked) -> io::Result<()> {
        let mut entries = fs::read_dir(&self.from).await?;
        match fs::create_dir(&self.to).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !fs::metadata(&self.to).await?.is_dir() {
                    return Err(error);
                }
            }
            created => created?,
        }
        walked.created = Some(self.clone());
        while let Some(entry) = entries.next_entry().await? {
            let kind = entry.file_type().await?;
            let (from, to) = (entry.path(), self.to.join(entry.file_name()));
            if kind.is_dir() {
                walked.trees.push(Tree { from, to });
            } else if kind.is_file() || kind.is_symlink() {
                Batch::add(&mut walked.batches, from, to, kind.is_symlink());
            } else {
                let name = from.display();
                walked
                    .errors
                    .push(format!("{name} is no file, directory or link"));
            }
        }
        Ok(())
    }
}

/// Whether a directory would be copied into itself, for ever.
pub(crate) async fn is_within(from: &Path, to: &Path) -> io::Result<bool> {
    let from = fs::canonicalize(from).await?;
    // The destination need not be there yet, but what it is in must be.
    let to = match (fs::canonicalize(to).await, to.parent()) {
        (Ok(to), _) => to,
        (Err(_), Some(above)) if !above.as_os_str().is_empty() => fs::canonicalize(above).await?,
        (Err(_), _) => fs::canonicalize(".").await?,
    };
    Ok(to.starts_with(from))
}

/// Gives directories that are filled the modes and times of those they were copied from. Tells what went wrong.
pub(crate) fn finish(dirs: &[Tree]) -> Vec<String> {
    let finish = |tree: &Tree| {
        let (from, to) = (tree.from.metadata()?, File::open(&tree.to)?);
        let times = FileTimes::new();
        to.set_times(
            times
                .set_modified(from.modified()?)
                .set_accessed(from.accessed()?),
        )?;
        to.set_permissions(from.permissions())
    };
    let failed = dirs.iter().filter_map(|tree| {
        let error: io::Error = finish(tree).err()?;
        let name = tree.to.display();
        Some(format!("cannot set the mode and times of {name}: {error}"))
    });
    failed.collect()
}
