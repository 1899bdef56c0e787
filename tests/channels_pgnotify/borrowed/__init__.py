"""`make borrowed-tests`: the tests that channels_redis and channels_postgres ship, on ours."""
