"""The toolkit of a spec-first platform: contracts at build time, one edge at run time. It knows no surface by name."""
