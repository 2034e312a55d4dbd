//! Finding what is asked for, beneath one directory and nowhere else.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use runtime::fs::{Dir, File, Metadata, OpenOptions};
use rustix::io::Errno;

use crate::response::Code;

/// What a request for a directory is answered with.
const INDEX: &str = "index.html";

pub(crate) struct Files {
    dir: Dir,
    options: OpenOptions,
}

/// What there is at a path.
pub(crate) enum Found {
    File(Served),
    /// A directory asked for without the slash that makes links in its index work.
    Elsewhere,
    Nothing(Code),
}

/// A file to send.
pub(crate) struct Served {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) kind: String,
}

impl Files {
    pub(crate) async fn open(path: &Path) -> io::Result<Files> {
        let mut options = OpenOptions::new();
        options.read(true);
        let dir = Dir::open(path).await?;
        Ok(Files { dir, options })
    }

    /// What is at `path`; `target` is how that was asked for.
    pub(crate) async fn find(&self, path: &Path, target: &str) -> io::Result<Found> {
        let (file, metadata) = match self.look(path).await {
            Ok(found) => found,
            Err(error) => return nothing(error),
        };
        if !metadata.is_dir() {
            return Ok(served(path, file, &metadata));
        }
        if !target.ends_with('/') {
            return Ok(Found::Elsewhere);
        }
        let index = path.join(INDEX);
        match self.look(&index).await {
            Ok((file, metadata)) => Ok(served(&index, file, &metadata)),
            Err(error) => nothing(error),
        }
    }

    async fn look(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let file = self.dir.open_beneath(path, &self.options).await?;
        let metadata = file.metadata().await?;
        Ok((file, metadata))
    }
}

fn served(path: &Path, file: File, metadata: &Metadata) -> Found {
    // A FIFO, a device: reading them is not what was meant.
    if !metadata.is_file() {
        return Found::Nothing(Code::Forbidden);
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let charset = if kind.type_() == mime_guess::mime::TEXT {
        "; charset=utf-8"
    } else {
        ""
    };
    Found::File(Served {
        file,
        len: metadata.len(),
        modified: metadata.modified().ok(),
        kind: format!("{kind}{charset}"),
    })
}

fn nothing(error: io::Error) -> io::Result<Found> {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::NXIO) => {
            Ok(Found::Nothing(Code::NotFound))
        }
        // XDEV: it leads out of the directory.
        Some(Errno::ACCESS | Errno::PERM | Errno::XDEV) => Ok(Found::Nothing(Code::Forbidden)),
        _ => Err(error),
    }
}
