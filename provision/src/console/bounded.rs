//! A program that is asked something: it has a time to answer in, and what it says has a limit.
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of an answer that are kept.
const LIMIT: usize = 64 << 10;

/// What it printed, when it has succeeded in time; whoever says more than is kept is not heard to the end.
pub fn output(program: &str, arguments: &[&str], patience: Duration) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running(command.spawn()?);
    let deadline = Instant::now() + patience;
    let said = read(child.0.stdout.take(), deadline)?;
    if said.len() >= LIMIT {
        return Ok(said);
    }
    let complaint = read(child.0.stderr.take(), deadline)?;
    loop {
        match child.0.try_wait()? {
            Some(status) if status.success() => return Ok(said),
            Some(_) => {
                let why = complaint.lines().last().unwrap_or("it has failed").to_owned();
                return Err(io::Error::other(why));
            }
            None if Instant::now() >= deadline => return Err(late()),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it gave no answer in time")
}

/// Until its end, the deadline or the limit.
fn read<P: io::Read + std::os::fd::AsFd>(pipe: Option<P>, deadline: Instant) -> io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while all.len() < LIMIT {
        if !wait(&pipe, PollFlags::IN, deadline)? {
            return Err(late());
        }
        match pipe.read(&mut buffer)? {
            0 => break,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Whether something can be done with it before the deadline.
pub fn wait(fd: &impl std::os::fd::AsFd, what: PollFlags, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(poll(&mut [PollFd::new(fd, what)], Some(&timeout))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn an_answer_is_what_it_says_or_why_there_is_none() {
        let sh = |script: &str, patience| output("sh", &["-c", script], patience).map_err(|error| error.to_string());
        assert_eq!(sh("echo yes", LONG), Ok("yes\n".into()));
        assert_eq!(sh("echo no >&2; exit 3", LONG), Err("no".into()));
        assert_eq!(sh("sleep 60", Duration::from_millis(50)), Err("it gave no answer in time".into()));
        assert!(output("/nonexistent", &[], LONG).is_err());
        assert!(sh("yes", LONG).is_ok_and(|said| said.len() >= LIMIT), "then it is ended");
    }
}
