"""Every analysis is a durable job: kept in one database, run by any worker, answered once."""
