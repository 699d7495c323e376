"""Results over time: has something become slower?"""
