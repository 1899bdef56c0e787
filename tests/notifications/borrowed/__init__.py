"""`make borrowed-tests`: the tests of django-notifs 4.0.0, on our notifications."""
