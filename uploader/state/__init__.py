"""What has been uploaded so far, so that a crash costs reading time and no cycles."""
