//! The forms of user data: plain, gzip, base64, MIME multipart, cloud-config-archive.
