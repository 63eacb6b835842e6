# Nothing for Python here: offline use goes through mediaserver.codecs.audio.Codec.
