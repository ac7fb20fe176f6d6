# Put here by tfoffline for the time of one command.
terraform {
  backend "local" {
    path = ".terraform/offline/offline.tfstate"
  }
}
