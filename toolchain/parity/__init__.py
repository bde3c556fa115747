"""Is the file that ships the model that was trained?"""
