"""What makes usable tables suspicious: each module looks at one kind of doubt in one or two scans."""
