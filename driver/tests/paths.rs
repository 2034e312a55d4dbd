//! The operations on paths and extended attributes.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use annulet_driver::op::{
    FgetXattr, FsetXattr, GetXattr, LinkAt, MkdirAt, OpenAt, RenameAt, SetXattr, SymlinkAt,
    UnlinkAt,
};
use annulet_driver::{CancelToken, Fd, Op, is_cancelled};
use tempfile::TempDir;

use support::{poll_once, run};

const NAME: &str = "user.annulet";

fn open(dir: &TempDir) -> Fd {
    Fd::new(fs::File::open(dir.path()).unwrap().into())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn path(path: &str) -> PathBuf {
    path.into()
}

#[test]
fn relative_to_a_directory_names_are_made_changed_and_removed() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let dir = open(&temp);
        let on = |what: &str| temp.path().join(what);

        let made = MkdirAt::new(&path("sub"), 0o700).unwrap();
        Op::on(&dir, made).await.unwrap();
        let mode = fs::metadata(on("sub")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);

        fs::write(on("file"), "content").unwrap();
        let linked = LinkAt::new(&path("file"), &path("sub/link"), 0).unwrap();
        Op::on(&dir, linked).await.unwrap();
        assert_eq!(fs::metadata(on("file")).unwrap().nlink(), 2);

        let pointed = SymlinkAt::new(&path("no/such"), &path("symlink")).unwrap();
        Op::on(&dir, pointed).await.unwrap();
        assert_eq!(fs::read_link(on("symlink")).unwrap(), path("no/such"));

        let renamed = RenameAt::new(&path("symlink"), &path("sub/symlink"), 0).unwrap();
        Op::on(&dir, renamed).await.unwrap();
        assert_eq!(names(temp.path()), ["file", "sub"]);
        assert_eq!(names(&on("sub")), ["link", "symlink"]);

        for (what, flags) in [
            ("sub/link", 0),
            ("sub/symlink", 0),
            ("sub", libc::AT_REMOVEDIR),
        ] {
            let removed = UnlinkAt::new(&path(what), flags).unwrap();
            Op::on(&dir, removed).await.unwrap();
        }
        assert_eq!(names(temp.path()), ["file"]);
    });
}

#[test]
fn without_a_directory_paths_are_as_the_process_sees_them() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let on = |what: &str| temp.path().join(what);
        Op::new(MkdirAt::new(&on("sub"), 0o777).unwrap())
            .await
            .unwrap();
        fs::write(on("a"), "a").unwrap();
        Op::new(LinkAt::new(&on("a"), &on("b"), 0).unwrap())
            .await
            .unwrap();
        Op::new(RenameAt::new(&on("a"), &on("sub/c"), 0).unwrap())
            .await
            .unwrap();
        Op::new(SymlinkAt::new(&path("b"), &on("d")).unwrap())
            .await
            .unwrap();
        assert_eq!(names(temp.path()), ["b", "d", "sub"]);
        Op::new(UnlinkAt::new(&on("b"), 0).unwrap()).await.unwrap();
        assert_eq!(names(temp.path()), ["d", "sub"]);
        // Relative to the working directory: the package's.
        let here = Op::new(LinkAt::new(&path("no-such"), &path("nothing"), 0).unwrap()).await;
        assert_eq!(here.unwrap_err().kind(), ErrorKind::NotFound);
        let here = Op::new(MkdirAt::new(&path("src"), 0o777).unwrap()).await;
        assert_eq!(here.unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn renames_and_links_mind_their_flags() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let dir = open(&temp);
        let on = |what: &str| temp.path().join(what);
        fs::write(on("a"), "a").unwrap();
        fs::write(on("b"), "b").unwrap();
        let rename = |flags| Op::on(&dir, RenameAt::new(&path("a"), &path("b"), flags).unwrap());
        let error = rename(libc::RENAME_NOREPLACE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        rename(libc::RENAME_EXCHANGE).await.unwrap();
        assert_eq!(fs::read(on("b")).unwrap(), b"a");
        rename(0).await.unwrap();
        assert_eq!(fs::read(on("b")).unwrap(), b"b");

        symlink("b", on("to-b")).unwrap();
        let link = |to, flags| LinkAt::new(&path("to-b"), &path(to), flags).unwrap();
        Op::on(&dir, link("c", 0)).await.unwrap();
        assert!(on("c").is_symlink());
        Op::on(&dir, link("d", libc::AT_SYMLINK_FOLLOW))
            .await
            .unwrap();
        assert!(!on("d").is_symlink());
    });
}

#[test]
fn what_goes_to_another_directory_goes_there_and_keeps_it_open_meanwhile() {
    run(|_| async {
        let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (from, to) = (open(&here), open(&there));
        fs::write(here.path().join("a"), "a").unwrap();
        let link = LinkAt::new(&path("a"), &path("linked"), 0).unwrap();
        Op::on(&from, link.to_dir(&to)).await.unwrap();
        let rename = RenameAt::new(&path("a"), &path("renamed"), 0).unwrap();
        Op::on(&from, rename.to_dir(&to)).await.unwrap();
        assert!(names(here.path()).is_empty());
        assert_eq!(names(there.path()), ["linked", "renamed"]);
        // From where the process is, and without a name.
        let on = there.path().join("linked");
        let rename = RenameAt::new(&on, &path("again"), 0).unwrap();
        Op::new(rename.to_dir(&from)).await.unwrap();
        let flags = libc::O_TMPFILE | libc::O_RDWR;
        let opened = Op::new(OpenAt::new(here.path(), flags, 0o600).unwrap()).await;
        let link = LinkAt::open_file(&path("named")).unwrap().to_dir(&from);
        Op::on(&Fd::new(opened.unwrap()), link).await.unwrap();
        assert_eq!(names(here.path()), ["again", "named"]);

        let rename = RenameAt::new(&path("again"), &path("once-more"), 0).unwrap();
        let mut rename = Op::on(&from, rename.to_dir(&to));
        assert!(poll_once(&mut rename).is_pending());
        to.close().await.unwrap();
        let moved = names(there.path()).contains(&"once-more".to_owned());
        match poll_once(&mut rename) {
            std::task::Poll::Ready(result) => assert_eq!(result.is_ok(), moved),
            std::task::Poll::Pending => panic!("the close did not wait"),
        }
        let rename = RenameAt::new(&path("named"), &path("x"), 0).unwrap();
        let error = Op::on(&from, rename.to_dir(&to)).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn a_file_without_a_name_is_given_one() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let flags = libc::O_TMPFILE | libc::O_RDWR;
        let opened = Op::new(OpenAt::new(temp.path(), flags, 0o600).unwrap()).await;
        let file = Fd::new(opened.unwrap());
        assert!(names(temp.path()).is_empty());
        let link = LinkAt::open_file(&temp.path().join("named")).unwrap();
        Op::on(&file, link).await.unwrap();
        assert_eq!(names(temp.path()), ["named"]);
        let again = LinkAt::open_file(&temp.path().join("named")).unwrap();
        let error = Op::on(&file, again).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn attributes_are_set_and_read_by_path_and_descriptor() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let at = temp.path().join("file");
        fs::write(&at, "").unwrap();
        let file = Fd::new(fs::File::open(&at).unwrap().into());
        let name = OsStr::new(NAME);
        let get = |room| Op::new(GetXattr::new(&at, name, Vec::with_capacity(room)).unwrap());
        let fget = |room| {
            Op::on(
                &file,
                FgetXattr::new(name, Vec::with_capacity(room)).unwrap(),
            )
        };
        let set = |value, flags| Op::new(SetXattr::new(&at, name, value, flags).unwrap());
        let fset = |value, flags| Op::on(&file, FsetXattr::new(name, value, flags).unwrap());

        let (missing, _) = get(8).await;
        assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENODATA));
        let (missing, _) = fget(8).await;
        assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENODATA));

        let (result, value) = set("by path", libc::XATTR_CREATE).await;
        result.unwrap();
        assert_eq!(value, "by path");
        let (result, value) = fget(64).await;
        assert_eq!((result.unwrap(), &value[..]), (7, &b"by path"[..]));
        let (result, _) = fset("again", libc::XATTR_CREATE).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
        fset("short", libc::XATTR_REPLACE).await.0.unwrap();
        let (result, value) = get(64).await;
        assert_eq!((result.unwrap(), &value[..]), (5, &b"short"[..]));

        // Too little room is an error; none at all asks for the length.
        let (result, value) = get(4).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ERANGE));
        assert!(value.is_empty());
        let (result, value) = fget(0).await;
        assert_eq!((result.unwrap(), value.len()), (5, 0));
        set("", 0).await.0.unwrap();
        let (result, value) = get(8).await;
        assert_eq!((result.unwrap(), value.len()), (0, 0));
    });
}

#[test]
fn names_with_nul_are_refused_by_every_one_of_them() {
    let (bad, good) = (Path::new("a\0b"), Path::new("a"));
    let (bad_name, good_name) = (OsStr::new("user.a\0b"), OsStr::new("user.a"));
    let refused = [
        UnlinkAt::new(bad, 0).map(drop),
        MkdirAt::new(bad, 0).map(drop),
        RenameAt::new(bad, good, 0).map(drop),
        RenameAt::new(good, bad, 0).map(drop),
        LinkAt::new(bad, good, 0).map(drop),
        LinkAt::new(good, bad, 0).map(drop),
        LinkAt::open_file(bad).map(drop),
        SymlinkAt::new(bad, good).map(drop),
        SymlinkAt::new(good, bad).map(drop),
        GetXattr::new(bad, good_name, [0; 1]).map(drop),
        GetXattr::new(good, bad_name, [0; 1]).map(drop),
        SetXattr::new(bad, good_name, [0; 1], 0).map(drop),
        SetXattr::new(good, bad_name, [0; 1], 0).map(drop),
        FgetXattr::new(bad_name, [0; 1]).map(drop),
        FsetXattr::new(bad_name, [0; 1], 0).map(drop),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("NUL"), "{error}");
    }
}

#[test]
fn one_that_was_cancelled_first_or_whose_directory_is_closed_changes_nothing() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let dir = open(&temp);
        let token = CancelToken::new();
        token.cancel().await;
        let made = MkdirAt::new(&path("sub"), 0o777).unwrap();
        let error = Op::on(&dir, made).cancel_with(&token).await.unwrap_err();
        assert!(is_cancelled(&error));
        dir.close().await.unwrap();
        let made = MkdirAt::new(&path("sub"), 0o777).unwrap();
        let error = Op::on(&dir, made).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert!(names(temp.path()).is_empty());
    });
}

#[test]
fn a_close_of_the_directory_waits_for_what_is_in_flight_on_it() {
    run(|_| async {
        let temp = TempDir::new().unwrap();
        let dir = open(&temp);
        let made = MkdirAt::new(&path("sub"), 0o777).unwrap();
        let mut made = Op::on(&dir, made);
        assert!(poll_once(&mut made).is_pending());
        dir.close().await.unwrap();
        // Cancelled in time or not, it has ended by now.
        let ended = poll_once(&mut made);
        let there = !names(temp.path()).is_empty();
        match ended {
            std::task::Poll::Ready(result) => assert_eq!(result.is_ok(), there),
            std::task::Poll::Pending => panic!("the close did not wait"),
        }
    });
}

#[test]
fn a_dropped_one_and_one_past_its_deadline_leave_nothing_in_flight() {
    let temp = TempDir::new().unwrap();
    run(|_| async {
        let at = temp.path().join("dropped");
        let mut made = Op::new(MkdirAt::new(&at, 0o777).unwrap());
        assert!(poll_once(&mut made).is_pending());
        drop(made);
        let at = temp.path().join("late");
        let made = Op::new(MkdirAt::new(&at, 0o777).unwrap());
        let made = made.timeout(std::time::Duration::ZERO).await;
        match made {
            Ok(()) => assert!(at.exists()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    });
}
